// SPDX-License-Identifier: Apache-2.0
// Tiles of 6 rows × 4 registers of sums (2 where there are 16 registers). Read first: matmul_i8.h.
#include "deploy/ops/shared/matmul_i8.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "deploy/base/float_mode.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/shared/matmul_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
void MatMul(const MatMulI8Args& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t o = a.output_begin; o < (a.output_end == 0 ? a.outputs : a.output_end); ++o) {
      int32_t sum = a.bias_o[o];
      for (int64_t p = 0; p < a.depth; ++p) {
        sum += a.x[r * a.x_stride + p] * a.weight[MatMulWeightAt(p, o, a.outputs)];
      }
      a.acc[r * a.outputs + o] = sum;
    }
  }
}
#else
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2
constexpr int kMostVectors = 2;
#else
constexpr int kMostVectors = 4;
#endif
constexpr int64_t kTileRows = 6;

template <bool kNarrow, int kRows, int kVectors>
HWY_INLINE void Tile(const MatMulI8Args& a, int64_t row, int64_t o) {
  const DI32 d;
  const DU8 d8;
  const DI8 di8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VI32 acc[kRows][kVectors];
  HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
    const VI32 bias = hn::LoadU(d, a.bias_o + o + v * lanes);
    HWY_UNROLL(6) for (int r = 0; r < kRows; ++r) acc[r][v] = bias;
  }
  const uint8_t* x = a.x + row * a.x_stride;
  const int8_t* weight = a.weight + o * 4;
  for (int64_t p = 0; p < a.depth; p += 4, weight += a.outputs * 4) {
    VI8 w[kVectors];
    HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(di8, weight + v * lanes * 4);
    HWY_UNROLL(6) for (int r = 0; r < kRows; ++r) {
      int32_t four;
      std::memcpy(&four, x + r * a.x_stride + p, 4);
      const VU8 in = hn::BitCast(d8, hn::Set(d, four));
      HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
        acc[r][v] = Dot4<kNarrow>(acc[r][v], in, w[v]);
      }
    }
  }
  HWY_UNROLL(6) for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(acc[r][v], d, a.acc + (row + r) * a.outputs + o + v * lanes);
    }
  }
}

template <bool kNarrow, int kVectors>
HWY_INLINE void Rows(const MatMulI8Args& a, int64_t o) {
  int64_t row = 0;
  for (; row + kTileRows <= a.rows; row += kTileRows) Tile<kNarrow, kTileRows, kVectors>(a, row, o);
  switch (a.rows - row) {
    case 5:
      return Tile<kNarrow, 5, kVectors>(a, row, o);
    case 4:
      return Tile<kNarrow, 4, kVectors>(a, row, o);
    case 3:
      return Tile<kNarrow, 3, kVectors>(a, row, o);
    case 2:
      return Tile<kNarrow, 2, kVectors>(a, row, o);
    case 1:
      return Tile<kNarrow, 1, kVectors>(a, row, o);
    default:
      return;
  }
}

template <bool kNarrow>
void Outputs(const MatMulI8Args& a) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DI32()));
  const int64_t end = a.output_end == 0 ? a.outputs : a.output_end;
  int64_t o = a.output_begin;
  for (; o + kMostVectors * lanes <= end; o += kMostVectors * lanes) {
    Rows<kNarrow, kMostVectors>(a, o);
  }
  for (; o < end; o += lanes) Rows<kNarrow, 1>(a, o);
}

void MatMul(const MatMulI8Args& a) {
  if (kHasNarrow && a.narrow) return Outputs<kHasNarrow>(a);
  Outputs<false>(a);
}
#endif  // HWY_SCALAR

void RequantiseRows(const int32_t* acc, int64_t rows, int64_t stride, int64_t n,
                    const int32_t* shift_o, uint8_t* q) {
  for (int64_t r = 0; r < rows; ++r) RequantiseRow(acc + r * stride, n, shift_o, q + r * n);
}

void Quantise(const float* x, int64_t n, float scale, int32_t zero, uint8_t* q) {
  const float inverse = 1.0f / scale;
  const auto least = static_cast<float>(-zero), most = static_cast<float>(255 - zero);
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const DI32 d;
  const hn::Rebind<float, DI32> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const auto low = hn::Set(df, least), high = hn::Set(df, most), factor = hn::Set(df, inverse);
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::Mul(hn::LoadU(df, x + i), factor);
    // A comparison with NaN is false.
    const auto clamped = hn::Min(hn::IfThenElse(hn::Gt(v, low), v, low), high);
    StoreClamped(hn::Add(hn::NearestInt(clamped), hn::Set(d, zero)), q + i);
  }
#endif
  for (; i < n; ++i) {
    const float v = x[i] * inverse;
    const float clamped = std::min(v > least ? v : least, most);
    q[i] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(clamped)) + zero);
  }
}

void Logits(const int32_t* acc, int64_t n, const float* scale_o, float* y) {
  for (int64_t o = 0; o < n; ++o) y[o] = static_cast<float>(acc[o]) * scale_o[o];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(MatMul);
HWY_EXPORT(RequantiseRows);
HWY_EXPORT(Quantise);
HWY_EXPORT(Logits);

void MatMulI8(const MatMulI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(MatMul)(args); }

void RequantiseI8(const int32_t* acc, int64_t rows, int64_t stride, int64_t n,
                  const int32_t* shift_o, uint8_t* q) noexcept {
  HWY_DYNAMIC_DISPATCH(RequantiseRows)(acc, rows, stride, n, shift_o, q);
}

void QuantiseI8(const float* x, int64_t n, float scale, int32_t zero, uint8_t* q) noexcept {
  const StandardFloatMode standard;
  HWY_DYNAMIC_DISPATCH(Quantise)(x, n, scale, zero, q);
}

void LogitsI8(const int32_t* acc, int64_t n, const float* scale_o, float* y) noexcept {
  const StandardFloatMode standard;
  HWY_DYNAMIC_DISPATCH(Logits)(acc, n, scale_o, y);
}

void Im2RowI8(const Shape& input, const packed::Window& window, int32_t out_w, const uint8_t* map,
              uint8_t zero, int64_t begin, int64_t end, int64_t stride, uint8_t* rows) noexcept {
  const int64_t c = input.channels, width = window.kernel_w * c;
  for (int64_t position = begin; position < end; ++position, rows += stride) {
    const int64_t y0 = position / out_w * window.stride_h - window.pad_h;
    const int64_t x0 = position % out_w * window.stride_w - window.pad_w;
    const int64_t left = std::clamp<int64_t>(-x0, 0, window.kernel_w) * c;
    const int64_t right = std::clamp<int64_t>(input.width - x0, 0, window.kernel_w) * c;
    for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
      uint8_t* to = rows + ky * width;
      const int64_t y = y0 + ky;
      if (y < 0 || y >= input.height || left >= right) {
        std::memset(to, zero, static_cast<size_t>(width));
        continue;
      }
      const uint8_t* from = map + (y * input.width + x0) * c;
      std::memset(to, zero, static_cast<size_t>(left));
      std::memcpy(to + left, from + left, static_cast<size_t>(right - left));
      std::memset(to + right, zero, static_cast<size_t>(width - right));
    }
    const int64_t used = window.kernel_h * width;
    std::memset(rows + used, 0, static_cast<size_t>(stride - used));
  }
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
