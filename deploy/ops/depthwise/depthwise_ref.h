// SPDX-License-Identifier: Apache-2.0
// The depthwise convolution straight from its definition: one output, in double (exact for the
// integers of int8), and the bound on float's error as in conv_dense_f32_ref.h.
// Tested in: depthwise_f32_test.cc, depthwise_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_REF_H_
#define BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_REF_H_

#include <cmath>
#include <cstdint>

#include "deploy/ops/pool/pool_f32.h"
#include "deploy/ops/shared/test_util.h"

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
      const int64_t y = yo * s.stride_h - s.pad_h + ky * s.dilation_h;
      const int64_t x = xo * s.stride_w - s.pad_w + kx * s.dilation_w;
      const bool inside = y >= 0 && y < s.in_h && x >= 0 && x < s.in_w;
      const double value = inside ? x_yxc[(y * s.in_w + x) * s.channels + c] : padding;
      const double product = value * weight_pc[(ky * s.kernel_w + kx) * weight_stride + c];
      sum += product;
      magnitude += std::abs(product);
    }
  }
  return {sum, (s.kernel_h * s.kernel_w + 1) * 0x1p-23 * magnitude};
}

/// A small shape with padding and strides, kernels of 1 to most_rows rows.
inline PoolShape RandomDepthwise(int32_t most_rows, Random& random) {
  PoolShape s;
  s.kernel_h = random.Int(1, most_rows), s.kernel_w = random.Int(1, 5);
  s.stride_h = random.Int(1, 3), s.stride_w = random.Int(1, 3);
  s.pad_h = random.Int(0, 6), s.pad_w = random.Int(0, 6);  // windows in the padding alone too
  s.in_h = random.Int(1, 12), s.in_w = random.Int(1, 12);
  if (random.Int(0, 2) == 0) s.dilation_h = random.Int(1, 5), s.dilation_w = random.Int(1, 5);
  s.in_h = std::max(s.in_h, (s.kernel_h - 1) * s.dilation_h + 1 - 2 * s.pad_h);
  s.in_w = std::max(s.in_w, (s.kernel_w - 1) * s.dilation_w + 1 - 2 * s.pad_w);
  s.channels = random.Int(1, 140);
  return s;
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_REF_H_
