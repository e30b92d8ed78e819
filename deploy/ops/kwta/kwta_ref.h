// SPDX-License-Identifier: Apache-2.0
// k-WTA by sorting: obviously right, slow. Read first: kwta.h.
#ifndef BISPARSE_DEPLOY_OPS_KWTA_KWTA_REF_H_
#define BISPARSE_DEPLOY_OPS_KWTA_KWTA_REF_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "deploy/ops/kwta/kwta.h"

namespace bisparse::kernels {

/// Indices of the winners, ascending.
inline std::vector<int32_t> KwtaReference(const KwtaF32Args& a) {
  struct Unit {
    float rank;
    int32_t first;
  };
  std::vector<int32_t> index_k;
  const int32_t width = a.channels / a.groups;
  const int32_t spans = a.global ? 1 : a.positions, span = a.positions / spans;
  for (int32_t s = 0; s < spans; ++s) {
    for (int32_t g = 0; g < a.groups; ++g) {
      std::vector<Unit> units;
      for (int32_t p = s * span; p < (s + 1) * span; ++p) {
        for (int32_t c = g * width; c < (g + 1) * width; c += a.chunk) {
          Unit unit{0.0f, p * a.channels + c};
          for (int32_t j = 0; j < a.chunk; ++j) {
            const float x = a.x[unit.first + j];
            if (x > 0.0f) unit.rank += x;
          }
          units.push_back(unit);
        }
      }
      std::stable_sort(units.begin(), units.end(),
                       [](const Unit& one, const Unit& other) { return one.rank > other.rank; });
      for (int32_t i = 0; i < a.winners / a.groups; ++i) {
        for (int32_t j = 0; j < a.chunk; ++j) index_k.push_back(units[i].first + j);
      }
    }
  }
  std::sort(index_k.begin(), index_k.end());
  return index_k;
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_KWTA_KWTA_REF_H_
