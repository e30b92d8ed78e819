// SPDX-License-Identifier: Apache-2.0
// The dense convolution straight from its definition, in double, and the bound on float's error:
//
//   |computed − exact| ≤ (P + 1)·ε·(|bias| + Σ|x·w|),  ε = 2^-24
//
// It holds for a sum of P + 1 terms in any fixed order, with fused multiply-add (one rounding a term) or without (two).
// Tested in: conv_dense_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_REF_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_REF_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "deploy/ops/conv/conv_dense_f32.h"

namespace bisparse::kernels {

struct RefValue {
  double value = 0, bound = 0;  ///< |float result − value| <= bound
};

/// x_yxc is the map without padding.
inline RefValue ConvDenseRef(const ConvDenseShape& s, const float* x_yxc, const float* weight_po,
                             const float* bias_o, bool relu, int64_t yo, int64_t xo, int64_t o) {
  double sum = bias_o[o], magnitude = std::abs(double{bias_o[o]});
  for (int32_t c = 0; c < s.channels; ++c) {
    for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
        const int64_t y = yo * s.stride_h + ky * s.dilation_h - s.pad_h;
        const int64_t x = xo * s.stride_w + kx * s.dilation_w - s.pad_w;
        if (y < 0 || y >= s.in_h || x < 0 || x >= s.in_w) continue;
        const int64_t p = (int64_t{c} * s.kernel_h + ky) * s.kernel_w + kx;
        const double product = double{x_yxc[(y * s.in_w + x) * s.channels + c]} *
                               double{weight_po[p * s.outputs_padded() + o]};
        sum += product;
        magnitude += std::abs(product);
      }
    }
  }
  const double bound = static_cast<double>(s.positions() + 1) * 0x1p-23 * magnitude;
  return {relu ? std::max(sum, 0.0) : sum, bound};
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_REF_H_
