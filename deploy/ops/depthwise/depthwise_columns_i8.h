// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on u8 maps by dot products of four rows, for AVX-512 with VNNI:
//   y[yo][xo][c] = clamp((bias[c] + Σ_kx Σ_ky w[ky][kx][c] · x[yo·sh − ph + ky·dh][xo·sw − pw + kx·dw][c]) >> shift[c])
// For each output row the input's columns are made once. A column holds four rows of 64 channels, interleaved so that one
// dot product adds four taps of 16 channels. Windows that overlap share columns. Packing the sums undoes the
// interleaving's order of channels. Bound for 64 channels and 3×3: 12 dot products a position, and 8 shuffles and 4
// stores a column, which share two ports: 10 cycles a position.
// Tested in: depthwise_columns_i8_test.cc. The general kernel: depthwise_i8.h.
#ifndef BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_COLUMNS_I8_H_
#define BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_COLUMNS_I8_H_

#include <cstdint>
#include <optional>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/size.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

struct DepthwiseColumnsI8 {
  PoolShape shape;
  uint8_t zero = 0;    ///< what pads the map
  int32_t chunks = 0;  ///< of 64 channels
  int32_t fours = 0;   ///< of kernel rows
  /// [chunks][kernel_w][fours][quarter of four][64]: lane i of quarter q is channel i / 4 · 16 + 4q + i % 4, its four bytes
  /// are the rows of a four.
  AlignedBuffer<int8_t> weight;
  AlignedBuffer<int32_t> bias, shift;  ///< [chunks][quarter][16]; bias with the rounding term
  int64_t columns() const {
    return (shape.out_w() - 1) * shape.stride_w + int64_t{shape.kernel_w - 1} * shape.dilation_w +
           1;
  }
  int64_t scratch_bytes() const { return (Size(columns()) * fours * 256).value(); }
};

/// Whether a row's columns are few: larger ones have left every cache, and the general kernel reads the map where it is.
bool FitsDepthwiseColumnsI8(const PoolShape& shape) noexcept;

/// weight_pc: [tap][channel], weight_stride bytes from one tap to the next; bias_c with the rounding term. Nothing where
/// the CPU (or BISPARSE_ISA) lacks AVX-512 with VNNI, the columns do not fit, or the layer is the last with weights.
std::optional<DepthwiseColumnsI8> PrepareDepthwiseColumnsI8(const PoolShape& shape, uint8_t zero,
                                                            const int8_t* weight_pc,
                                                            int64_t weight_stride,
                                                            const int32_t* bias_c,
                                                            const int32_t* shift_c);

struct DepthwiseColumnsI8Args {
  const DepthwiseColumnsI8* conv = nullptr;
  const uint8_t* x_yxc = nullptr;
  uint8_t* y_yxc = nullptr;
  uint8_t* scratch = nullptr;  ///< conv->scratch_bytes(), 64-byte aligned
};
void DepthwiseColumnsI8Run(const DepthwiseColumnsI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_COLUMNS_I8_H_
