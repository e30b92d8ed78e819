// SPDX-License-Identifier: Apache-2.0
// Tiles of 6 rows × 4 registers of sums (2 where there are 16 registers), or 8 rows × 1 (6). Read first: matmul_i8.h.
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

HWY_INLINE const uint8_t* RowOf(const MatMulI8Args& a, int64_t row) {
  return a.x + (a.offset_r != nullptr ? a.offset_r[row] : row * a.x_stride);
}

HWY_INLINE int64_t SegmentOf(const MatMulI8Args& a, int64_t s) {
  return a.offset_s != nullptr ? a.offset_s[s] : 0;
}

#if HWY_TARGET == HWY_SCALAR
void MatMul(const MatMulI8Args& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t o = a.output_begin; o < (a.output_end == 0 ? a.outputs : a.output_end); ++o) {
      int32_t sum = a.bias_o[o];
      const uint8_t* x = RowOf(a, r);
      for (int64_t p = 0; p < a.segments * a.depth; ++p) {
        sum +=
            x[SegmentOf(a, p / a.depth) + p % a.depth] * a.weight[MatMulWeightAt(p, o, a.outputs)];
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
/// Rows of a tile of one register of sums each: enough for sums not to wait for one another.
constexpr int64_t kTallRows = HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 ? 6 : 8;
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
    HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) acc[r][v] = bias;
  }
  const uint8_t* x_r[kRows];
  HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) x_r[r] = RowOf(a, row + r);
  const int8_t* weight = a.weight + o * 4;
  for (int64_t s = 0; s < a.segments; ++s) {
    const int64_t begin = SegmentOf(a, s), end = begin + a.depth;
    for (int64_t p = begin; p < end; p += 4, weight += a.outputs * 4) {
      VI8 w[kVectors];
      HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
        w[v] = hn::LoadU(di8, weight + v * lanes * 4);
      }
      HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, x_r[r] + p, 4);
        const VU8 in = hn::BitCast(d8, hn::Set(d, four));
        HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
          acc[r][v] = Dot4<kNarrow>(acc[r][v], in, w[v]);
        }
      }
    }
  }
  HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(acc[r][v], d, a.acc + (row + r) * a.outputs + o + v * lanes);
    }
  }
}

template <bool kNarrow, int kVectors>
HWY_INLINE void Rows(const MatMulI8Args& a, int64_t o) {
  int64_t row = 0;
  if constexpr (kVectors == 1 && kTallRows > kTileRows) {
    for (; row + kTallRows <= a.rows; row += kTallRows) {
      Tile<kNarrow, kTallRows, kVectors>(a, row, o);
    }
  }
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
  if (kMostVectors > 2 && o + 2 * lanes <= end) {
    Rows<kNarrow, 2>(a, o);
    o += 2 * lanes;
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

void PadMapU8(const Shape& map, int32_t pad_h, int32_t pad_w, uint8_t zero, const uint8_t* x,
              uint8_t* padded) noexcept {
  const auto row = static_cast<size_t>(map.width) * static_cast<size_t>(map.channels);
  const auto side = static_cast<size_t>(pad_w) * static_cast<size_t>(map.channels);
  const size_t above = static_cast<size_t>(pad_h) * (row + 2 * side);
  // A row's right side and the next one's left side are one.
  std::memset(padded, zero, above + side);
  padded += above + side;
  for (int32_t y = 0; y < map.height; ++y, x += row) {
    std::memcpy(padded, x, row);
    std::memset(padded + row, zero, y + 1 < map.height ? 2 * side : side + above);
    padded += row + 2 * side;
  }
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
