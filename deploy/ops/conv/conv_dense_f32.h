// SPDX-License-Identifier: Apache-2.0
// Dense convolution, channels last:
//   y[yo][xo][o] = bias[o] + Σ_p x[yo·stride_h + ky·dilation_h][xo·stride_w + kx·dilation_w][c] · weight_po[p][o]
//   p = (c·kernel_h + ky)·kernel_w + kx,  x padded by PadMap: [padded_h][padded_w][channels]
//   weight_po: packed layout with S = 1, L = 16: rows of outputs padded to 16; bias padded likewise
// The honest baseline of the dense mode. Register tiles of 6 output positions
// (dense_tile_f32-inl.h) walk blocks of 64 positions of the kernel, so that weights come from L1;
// blocks of 96 output positions keep input and output close. Read first: deploy/packed/layout.h.
// Tested in: conv_dense_f32_test.cc. Reference: conv_dense_f32_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_H_

#include <cstdint>

namespace bisparse::kernels {

struct ConvDenseShape {
  int32_t in_h = 1, in_w = 1, channels = 1;
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int32_t dilation_h = 1, dilation_w = 1;
  int32_t outputs = 1;

  int64_t padded_h() const { return int64_t{in_h} + 2 * pad_h; }
  int64_t padded_w() const { return int64_t{in_w} + 2 * pad_w; }
  int64_t padded_elements() const { return padded_h() * padded_w() * channels; }
  int64_t out_h() const {
    return (padded_h() - (kernel_h - 1) * int64_t{dilation_h} - 1) / stride_h + 1;
  }
  int64_t out_w() const {
    return (padded_w() - (kernel_w - 1) * int64_t{dilation_w} - 1) / stride_w + 1;
  }
  int64_t out_positions() const { return out_h() * out_w(); }
  int64_t positions() const { return int64_t{channels} * kernel_h * kernel_w; }
  int64_t outputs_padded() const { return (int64_t{outputs} + 15) / 16 * 16; }
};

/// offset_p[p] = where position p lies in a padded map, relative to a patch's first element;
/// positions() entries, computed once at plan time. padded_elements() must fit into 31 bits.
void ConvDenseOffsets(const ConvDenseShape& shape, int32_t* offset_p) noexcept;

/// x [h][w][c] → x_padded [h + 2·pad_h][w + 2·pad_w][c] with zeros around it.
void PadMap(const float* x, int64_t h, int64_t w, int64_t c, int64_t pad_h, int64_t pad_w,
            float* x_padded) noexcept;

/// Output positions [begin, end) of out_positions(); y_yxo is the whole map,
/// [out_h][out_w][outputs]. relu: y = max(y, 0) in the same pass.
void ConvDenseF32(const ConvDenseShape& shape, const float* x_padded, const int32_t* offset_p,
                  const float* weight_po, const float* bias_o, bool relu, int64_t begin,
                  int64_t end, float* y_yxo) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_DENSE_F32_H_
