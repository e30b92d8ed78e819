// SPDX-License-Identifier: Apache-2.0
// Read first: mixup.h. Tested in: loop_test.cc.
#include "train/loop/mixup.h"

#include <algorithm>
#include <cmath>

#include "deploy/base/random.h"

namespace bisparse::train {

double DrawMixup(double alpha, uint64_t seed, int64_t step) {
  if (alpha == 0.0) return 1.0;
  constexpr uint64_t kMixupStream = 0x6d69787570;  // "mixup"
  CounterRandom random(seed, {kMixupStream, static_cast<uint64_t>(step)});
  // Jöhnk's method: u^(1/α) / (u^(1/α) + v^(1/α)), given that the sum is at most 1.
  for (;;) {
    const double u = std::pow(random.Uniform(), 1.0 / alpha);
    const double v = std::pow(random.Uniform(), 1.0 / alpha);
    if (u + v > 0.0 && u + v <= 1.0) return std::max(u, v) / (u + v);
  }
}

}  // namespace bisparse::train
