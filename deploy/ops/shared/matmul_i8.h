// SPDX-License-Identifier: Apache-2.0
// Dense int8 layers: rows of u8 inputs times s8 weights,
//
//   acc[r][o] = bias_o[o] + Σ_p x[r][p] · weight[p][o]          r < rows
//
// A linear layer's row is a sample. A convolution's row is a window of the padded map: one segment for each kernel row, or for
// each tap of a dilated one, which is contiguous in memory, in the order p = (ky, kx, c). Weights are [depth/4][outputs][4], so that one
// register holds four inputs of 16 outputs (Dot4). Bound: one load of weights for up to 8 dot
// products. Read first: deploy/simd/dot4-inl.h. Tested in: matmul_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_MATMUL_I8_H_
#define BISPARSE_DEPLOY_OPS_SHARED_MATMUL_I8_H_

#include <cstdint>

#include "bisparse/shape.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

struct MatMulI8Args {
  int64_t rows = 0, depth = 0;  ///< depth: inputs of a segment, padded to a multiple of 4
  int64_t outputs = 0;          ///< padded to a multiple of 16
  const uint8_t* x = nullptr;   ///< [rows], x_stride bytes apart; padding times weights of zero
  int64_t x_stride = 0;
  const int32_t* offset_r = nullptr;  ///< where rows begin instead, bytes from x
  int64_t segments = 1;               ///< of a row, each of `depth` inputs
  const int32_t* offset_s = nullptr;  ///< where segments begin, bytes from the row; null: one
  const int8_t* weight = nullptr;     ///< [segments·depth/4][outputs][4], 64-byte aligned
  bool narrow = false;                ///< all |weight| <= packed::kNarrowWeight
  const int32_t* bias_o = nullptr;
  int32_t* acc = nullptr;                    ///< [rows][outputs]
  int64_t output_begin = 0, output_end = 0;  ///< outputs to compute, multiples of 16; 0, 0: all
};
void MatMulI8(const MatMulI8Args& args) noexcept;

/// Byte of weight (p, o) in `weight`.
inline int64_t MatMulWeightAt(int64_t p, int64_t o, int64_t outputs) {
  return (p / 4 * outputs + o) * 4 + p % 4;
}

/// A map with `pad_h` rows above and below it and `pad_w` columns beside it that hold `zero`.
void PadMapU8(const Shape& map, int32_t pad_h, int32_t pad_w, uint8_t zero, const uint8_t* x,
              uint8_t* padded) noexcept;

/// q = rint(clamp(x · (1 / scale), −zero, 255 − zero)) + zero; NaN as −∞ (deploy/packed/model.h).
void QuantiseI8(const float* x, int64_t n, float scale, int32_t zero, uint8_t* q) noexcept;
/// q[r][o] = clamp(acc[r][o] >> shift_o[o], 0, 255); acc: [rows], stride numbers apart, holds the rounding term; q: [rows][n].
/// shift_o: i32, n padded to 16.
void RequantiseI8(const int32_t* acc, int64_t rows, int64_t stride, int64_t n,
                  const int32_t* shift_o, uint8_t* q) noexcept;
/// y[o] = float(acc[o]) · scale_o[o].
void LogitsI8(const int32_t* acc, int64_t n, const float* scale_o, float* y) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_MATMUL_I8_H_
