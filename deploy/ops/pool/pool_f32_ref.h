// SPDX-License-Identifier: Apache-2.0
// Pooling straight from its definition, in double. A float sum of n terms in a fixed order is off
// by at most (n − 1)·ε·Σ|x|, the division by ε more; ε = 2^-24. Tested in: pool_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_POOL_POOL_F32_REF_H_
#define BISPARSE_DEPLOY_OPS_POOL_POOL_F32_REF_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "deploy/ops/pool/pool_f32.h"

namespace bisparse::kernels {

struct PoolRefValue {
  double max = -std::numeric_limits<double>::infinity();
  double avg = 0, avg_bound = 0;  ///< |float average − avg| <= avg_bound
};

inline PoolRefValue PoolRef(const PoolShape& s, const float* x_yxc, int64_t yo, int64_t xo,
                            int64_t c) {
  PoolRefValue ref;
  double sum = 0, magnitude = 0, count = 0;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const int64_t y = yo * s.stride_h + ky - s.pad_h, x = xo * s.stride_w + kx - s.pad_w;
      if (y < 0 || y >= s.in_h || x < 0 || x >= s.in_w) continue;
      const double value = x_yxc[(y * s.in_w + x) * s.channels + c];
      ref.max = std::max(ref.max, value);
      sum += value;
      magnitude += std::abs(value);
      count += 1;
    }
  }
  ref.avg = sum / count;
  ref.avg_bound = (count + 1) * 0x1p-24 * magnitude / count;
  return ref;
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_POOL_POOL_F32_REF_H_
