// SPDX-License-Identifier: Apache-2.0
// Dense convolution on every SIMD target: output positions as columns of register tiles.
// Read first: conv_dense_f32.h. Tested in: conv_dense_f32_test.cc.
#include "deploy/ops/conv/conv_dense_f32.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_dense_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

#include "deploy/ops/shared/dense_tile_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

// 96 positions = 16 full tiles: the input that a block of 64 kernel positions touches (one line a
// position and channel line) and its outputs stay in L1 and L2.
constexpr int64_t kBlockColumns = 16 * kTileColumns;

void ConvDenseF32(const ConvDenseShape& shape, const float* x_padded, const int32_t* offset_p,
                  const float* weight_po, const float* bias_o, bool relu, int64_t begin,
                  int64_t end, float* y_yxo) {
  const int64_t out_w = shape.out_w();
  const int64_t row = shape.padded_w() * shape.channels * shape.stride_h;
  const int64_t column = int64_t{shape.channels} * shape.stride_w;
  const int64_t positions = shape.positions();
  const float* x_j[kBlockColumns];
  float* y_j[kBlockColumns];
  for (int64_t block = begin; block < end; block += kBlockColumns) {
    const int64_t count = std::min(kBlockColumns, end - block);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t yo = (block + j) / out_w, xo = (block + j) % out_w;
      x_j[j] = x_padded + yo * row + xo * column;
      y_j[j] = y_yxo + (block + j) * shape.outputs;
    }
    for (int64_t p = 0; p < positions; p += kBlockPositions) {
      const int64_t p_end = std::min(p + kBlockPositions, positions);
      const DensePass pass{.weight_po = weight_po,
                           .pitch = shape.outputs_padded(),
                           .bias_o = bias_o,
                           .outputs = shape.outputs,
                           .p_begin = p,
                           .p_end = p_end,
                           .first = p == 0,
                           .last = p_end == positions,
                           .relu = relu};
      DenseBlock(pass, TableOffset{offset_p}, x_j, count, y_j);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvDenseF32);

void ConvDenseF32(const ConvDenseShape& shape, const float* x_padded, const int32_t* offset_p,
                  const float* weight_po, const float* bias_o, bool relu, int64_t begin,
                  int64_t end, float* y_yxo) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvDenseF32)
  (shape, x_padded, offset_p, weight_po, bias_o, relu, begin, end, y_yxo);
}

void ConvDenseOffsets(const ConvDenseShape& shape, int32_t* offset_p) noexcept {
  for (int32_t c = 0; c < shape.channels; ++c) {
    for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < shape.kernel_w; ++kx) {
        *offset_p++ = static_cast<int32_t>(
            (ky * shape.dilation_h * shape.padded_w() + kx * shape.dilation_w) * shape.channels +
            c);
      }
    }
  }
}

void PadMap(const float* x, int64_t h, int64_t w, int64_t c, int64_t pad_h, int64_t pad_w,
            float* x_padded) noexcept {
  const int64_t row = w * c, padded_row = (w + 2 * pad_w) * c;
  std::fill_n(x_padded, pad_h * padded_row, 0.0f);
  float* to = x_padded + pad_h * padded_row;
  for (int64_t y = 0; y < h; ++y, to += padded_row) {
    std::fill_n(to, pad_w * c, 0.0f);
    std::memcpy(to + pad_w * c, x + y * row, static_cast<size_t>(row) * sizeof(float));
    std::fill_n(to + pad_w * c + row, pad_w * c, 0.0f);
  }
  std::fill_n(to, pad_h * padded_row, 0.0f);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
