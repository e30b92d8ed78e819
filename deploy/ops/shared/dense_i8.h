// SPDX-License-Identifier: Apache-2.0
// The dense int8 product that convolutions and linear layers share: unpacked weights in the order of matmul_i8.h.
// Tested in: deploy/engine/engine_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_
#define BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_

#include <cstdint>
#include <iterator>
#include <vector>

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
  /// A convolution's kernel rows are segments, each padded to 4 inputs, or its taps where they lie apart; a linear layer has
  /// one segment.
  DenseI8(const packed::Layout& layout, const packed::Layer& layer);

  /// acc[r][o] = bias_o + Σ x[r][p] · weight[p][o] of `args.rows` rows: what says where they are is given, the rest filled in.
  void Multiply(kernels::MatMulI8Args args) const noexcept {
    args.depth = depth;
    args.segments = std::ssize(offset_s_);
    args.offset_s = offset_s_.data();
    args.outputs = outputs;
    args.weight = weight_.data();
    args.narrow = narrow_;
    args.bias_o = ends_.bias_o.data();
    kernels::MatMulI8(args);
  }
  /// Of rows [begin, end), whose sums begin at acc.
  void Finish(const int32_t* acc, int64_t begin, int64_t end, void* y) const noexcept {
    FinishI8(*layer_, ends_, acc, outputs, begin, end, y);
  }
  int64_t bytes() const { return std::ssize(offset_s_) * depth * outputs + 4 * outputs; }

  int64_t inputs = 0;   ///< of a segment
  int64_t depth = 0;    ///< the same padded to 4
  int64_t outputs = 0;  ///< O padded to 16

 private:
  const packed::Layer* layer_;
  std::vector<int32_t> offset_s_;  ///< bytes of the padded map from a window's first element
  AlignedBuffer<int8_t> weight_;
  bool narrow_ = false;
  Ends ends_;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_DENSE_I8_H_
