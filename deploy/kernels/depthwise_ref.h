// SPDX-License-Identifier: Apache-2.0
// The depthwise convolution straight from its definition: one output, in double (exact for the
// integers of int8), and the bound on float's error as in conv_dense_f32_ref.h.
// Tested in: depthwise_f32_test.cc, depthwise_i8_test.cc.
#ifndef BISPARSE_DEPLOY_KERNELS_DEPTHWISE_REF_H_
#define BISPARSE_DEPLOY_KERNELS_DEPTHWISE_REF_H_

#include <cmath>
#include <cstdint>

#include "deploy/kernels/pool_f32.h"

namespace bisparse::kernels {

struct DepthwiseRefValue {
  double value = 0, bound = 0;  ///< |float result − value| <= bound
};

/// `padding`: what lies around the map.
template <class X, class Weight, class Bias>
DepthwiseRefValue DepthwiseRef(const PoolShape& s, const X* x_yxc, double padding,
                               const Weight* weight_pc, int64_t weight_stride, const Bias* bias_c,
                               int64_t yo, int64_t xo, int64_t c) {
  double sum = bias_c[c], magnitude = std::abs(sum);
  for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
      const int64_t y = yo * s.stride_h - s.pad_h + ky, x = xo * s.stride_w - s.pad_w + kx;
      const bool inside = y >= 0 && y < s.in_h && x >= 0 && x < s.in_w;
      const double value = inside ? x_yxc[(y * s.in_w + x) * s.channels + c] : padding;
      const double product = value * weight_pc[(ky * s.kernel_w + kx) * weight_stride + c];
      sum += product;
      magnitude += std::abs(product);
    }
  }
  return {sum, (s.kernel_h * s.kernel_w + 1) * 0x1p-23 * magnitude};
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_KERNELS_DEPTHWISE_REF_H_
