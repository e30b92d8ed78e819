// SPDX-License-Identifier: Apache-2.0
// The dense int8 product that convolutions and linear layers share: unpacked weights in the order of matmul_i8.h.
// Tested in: deploy/engine/engine_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_
#define BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_

#include <cstdint>

#include "deploy/base/aligned_buffer.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/ops/shared/matmul_i8.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

/// Sums of rows [begin, end), `stride` numbers apart, to the bytes that the next layer reads, or to f32 logits.
void FinishI8(const packed::Layer& layer, const Ends& ends, const int32_t* acc, int64_t stride,
              int64_t begin, int64_t end, void* y) noexcept;

class DenseI8 {
 public:
  DenseI8(const packed::Layout& layout, const packed::Layer& layer);

  /// acc[r][o] = bias_o + Σ x[r][p] · weight[p][o], `rows` rows of x `x_stride` bytes apart; outputs [output_begin,
  /// output_end), multiples of 16, or all.
  void Multiply(const uint8_t* x, int64_t x_stride, int64_t rows, int32_t* acc,
                int64_t output_begin = 0, int64_t output_end = 0) const noexcept {
    kernels::MatMulI8({.rows = rows,
                       .depth = depth,
                       .outputs = outputs,
                       .x = x,
                       .x_stride = x_stride,
                       .weight = weight_.data(),
                       .narrow = narrow_,
                       .bias_o = ends_.bias_o.data(),
                       .acc = acc,
                       .output_begin = output_begin,
                       .output_end = output_end});
  }
  /// Of rows [begin, end), whose sums begin at acc.
  void Finish(const int32_t* acc, int64_t begin, int64_t end, void* y) const noexcept {
    FinishI8(*layer_, ends_, acc, outputs, begin, end, y);
  }
  int64_t bytes() const { return depth * outputs + 4 * outputs; }

  int64_t depth = 0, outputs = 0;  ///< P padded to 4, O to 16

 private:
  const packed::Layer* layer_;
  AlignedBuffer<int8_t> weight_;
  bool narrow_ = false;
  Ends ends_;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_
