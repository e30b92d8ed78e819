// SPDX-License-Identifier: Apache-2.0
// k-WTA on a u8 map. Winners: index_k ascending, index (y·W + x)·C + c as in winners.h; value_k the map's u8.
// Tested in: kwta_u8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_KWTA_KWTA_U8_H_
#define BISPARSE_DEPLOY_OPS_KWTA_KWTA_U8_H_

#include <cstdint>

#include "deploy/ops/kwta/kwta.h"

namespace bisparse::kernels {

struct KwtaU8Args {
  const uint8_t* x = nullptr;  ///< [positions, channels]
  int32_t positions = 0, channels = 0;
  int32_t winners = 1, groups = 1, chunk = 1;
  bool global = false;
  int32_t* index_k = nullptr;  ///< kwta.h's count, and kKwtaSlack
  uint8_t* value_k = nullptr;
};
/// Exactly the winners that kwta.h describes, ranked by u8 (the sum of a chunk's); ties to the lowest index.
void KwtaU8(const KwtaU8Args& args) noexcept;
void ScatterWinnersU8(const int32_t* index_k, const uint8_t* value_k, int64_t count, uint8_t* dense,
                      int64_t elements) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_KWTA_KWTA_U8_H_
