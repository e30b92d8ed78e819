// SPDX-License-Identifier: Apache-2.0
// A packed convolution or linear layer in training on an input that is read as a whole:
//
//   y[i, j, b·L + l]      = bias[b·L + l] + Σ over entries e of block b of weight[weight_e[e] + l]·x[input_e[e] + (i, j)]
//   dweight[weight_e[e] + l] += Σ over (i, j) of x[input_e[e] + (i, j)]·dy[i, j, b·L + l]
//   dbias[b·L + l]           += Σ over (i, j) of dy[i, j, b·L + l]
//
// (i, j) runs over a grid: of a convolution the positions of one map, of a linear layer the samples of a batch. Outputs or
// entries are in registers: a multiply-add for each broadcast of an input.
// An output is summed in the order of its entries, a gradient in the order of the grid, whatever the blocks of the call.
// Read first: deploy/ops/shared/packed_lists.h (entries). Lists: training_prepare.h. Tested in: training_f32_test.cc.
// Reference: training_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_TRAINING_DENSE_TRAINING_F32_H_
#define BISPARSE_DEPLOY_OPS_TRAINING_DENSE_TRAINING_F32_H_

#include <cstdint>

namespace bisparse::kernels {

/// Distances are in floats.
struct DenseTrainingF32Args {
  int32_t lanes = 1;  ///< L
  int32_t block_begin = 0, block_end = 0;
  const int32_t* begin_b = nullptr;  ///< [N·S + 1]
  const int32_t* input_e = nullptr;
  const int32_t* weight_e = nullptr;
  int64_t rows = 1, columns = 1;    ///< of the grid
  const float* x = nullptr;         ///< a map with the zeros around it
  int64_t x_row = 0, x_column = 0;  ///< from one row, one column of the grid to the next
  int64_t y_row = 0, y_column = 0;  ///< the same of y and dy
};

/// Blocks block_begin … block_end of y; bias_o [N·S·L].
void DenseForwardF32(const DenseTrainingF32Args& args, const float* weight_pnl, const float* bias_o,
                     float* y) noexcept;
/// Adds to the gradients of the same blocks; dbias_o null: not wanted.
void DenseWeightGradientF32(const DenseTrainingF32Args& args, const float* dy, float* dweight_pnl,
                            float* dbias_o) noexcept;

/// sum_o[o] += Σ over rows of dy_qo[q][o].
void AddRowsF32(const float* dy_qo, int64_t rows, int64_t width, float* sum_o) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_TRAINING_DENSE_TRAINING_F32_H_
