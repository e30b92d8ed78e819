// SPDX-License-Identifier: Apache-2.0
// The dense linear layer from its definition, in double; the bound is conv_dense_f32_ref.h's:
// (I + 1)·2^-23·(|bias| + Σ|x·w|). Tested in: linear_dense_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_REF_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_REF_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "deploy/ops/conv/conv_dense_f32_ref.h"
#include "deploy/ops/linear/linear_dense_f32.h"

namespace bisparse::kernels {

/// Output o of one sample.
inline RefValue LinearDenseRef(const LinearDenseShape& s, const float* x_p, const float* weight_po,
                               const float* bias_o, bool relu, int64_t o) {
  double sum = bias_o[o], magnitude = std::abs(double{bias_o[o]});
  for (int64_t p = 0; p < s.inputs; ++p) {
    const double product = double{x_p[p]} * double{weight_po[p * s.outputs_padded() + o]};
    sum += product;
    magnitude += std::abs(product);
  }
  return {relu ? std::max(sum, 0.0) : sum, static_cast<double>(s.inputs + 1) * 0x1p-23 * magnitude};
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_REF_H_
