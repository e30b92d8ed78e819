// SPDX-License-Identifier: Apache-2.0
// Dense linear layer: y_bo[b][o] = bias_o[o] + Σ_p x_bp[b][p] · weight_po[p][o]
//   weight_po: packed layout with S = 1, L = 16: rows of outputs padded to 16; bias padded likewise
// One sample is bound by memory: eight rows of weights stream at once past the sums, which stay in
// L1. More samples share weights: blocks of 64 rows stay in L1 while register tiles of 6 samples
// (dense_tile_f32-inl.h) go over them. Each output is summed over ascending p with one multiply-add
// a position in both cases: a sample's bits do not depend on the batch.
// Read first: deploy/packed/layout.h. Tested in: linear_dense_f32_test.cc. Reference:
// linear_dense_f32_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_H_

#include <cstdint>

namespace bisparse::kernels {

struct LinearDenseShape {
  int64_t inputs = 1, outputs = 1;
  int64_t weight_pitch =
      0;  ///< floats from a row of weights to the next where outputs are a part of them; 0: padded
  int64_t outputs_padded() const { return (outputs + 15) / 16 * 16; }
  int64_t pitch() const { return weight_pitch > 0 ? weight_pitch : outputs_padded(); }
};

/// Samples [0, batch), x_bp and y_bo back to back. relu: y = max(y, 0) in the same pass.
void LinearDenseF32(const LinearDenseShape& shape, const float* x_bp, int64_t batch,
                    const float* weight_po, const float* bias_o, bool relu, float* y_bo) noexcept;

/// One sample of which only `count` inputs are not zero: value_w[w] at input index_w[w], ascending.
/// Only their rows of weights are read. Bits equal LinearDenseF32's of the dense input where the
/// weights are finite and no sum is a negative zero.
void LinearWinnersF32(const LinearDenseShape& shape, const int32_t* index_w, const float* value_w,
                      int64_t count, const float* weight_po, const float* bias_o, bool relu,
                      float* y_o) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_DENSE_F32_H_
