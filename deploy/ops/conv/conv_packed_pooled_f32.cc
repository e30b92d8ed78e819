// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads every activation, with the 2×2 max-pool after it in the same pass:
//
//   y[py, px, o] = max over dy, dx in {0, 1} of conv[2·py + dy, 2·px + dx, o]
//
// Neighbouring pooled columns px are a vector, so any owners and any L cost the same: one broadcast
// weight and four multiply-adds, one for each place of the pool's window, in registers; the map
// before the pool (200 KB for the speech network's conv1) never exists.
//   scratch[px / 16][c][j][y % stride_h][y / stride_h][px % 16] =
//     input[y - pad_h][2·px·stride_w + j - pad_w][c],  j < kernel_w + stride_w
// holds every shifted row at a cache line, so that no load crosses one, and the rows that a tile
// reads follow one another. It must fit into L1: few input channels (PrepareConvPackedPooledF32
// refuses otherwise). Entries begin_b[o] … begin_b[o + 1) are kernel o's.
// With a k-WTA of one winner a group after it, 8 groups of winners are transposed in place of 64
// kernels.
// Bound: 29 loads for 28 multiply-adds of AVX-512.
// Read first: conv_packed.h. Tested in: conv_packed_pooled_f32_test.cc.
#include <algorithm>

#include "deploy/ops/conv/conv_packed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_packed_pooled_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedDenseF32Args;
using D = hn::CappedTag<float, 16>;
constexpr int kMostRows = HWY_MAX_BYTES >= 64 ? 7 : 2;  // 4 accumulators for each
constexpr int32_t kTileFloats = 16 * 16;                // of a row: kernels, columns

/// Fills the shifted rows that the pooled rows row_begin … row_end read.
HWY_INLINE void ShiftRows(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const PooledColumns columns(s);
  const int32_t begin = a.row_begin * 2 * s.stride_h;
  const int32_t end = (a.row_end * 2 - 1) * s.stride_h + s.kernel_h;
  float* plane = a.scratch;
  for (int32_t px = 0; px < columns.width; px += 16) {
    for (int32_t c = 0; c < s.in_c; ++c) {
      for (int32_t j = 0; j < columns.shifts; ++j, plane += columns.plane()) {
        for (int32_t y = begin; y < end; ++y) {
          float* to = plane + columns.Row(y);
          const int32_t in_y = y - s.pad_h;
          const bool inside = in_y >= 0 && in_y < s.in_h;
          const float* from = a.input + int64_t{in_y} * s.in_w * s.in_c + c;
          int32_t x = 2 * px * s.stride_w + j - s.pad_w;
          for (int32_t i = 0; i < 16; ++i, x += 2 * s.stride_w) {
            to[i] = inside && x >= 0 && x < s.in_w ? from[int64_t{x} * s.in_c] : 0.0f;
          }
        }
      }
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
/// One channel at stride 1: even and odd columns are taken apart a vector at a time.
HWY_INLINE void ShiftRowsOfOneChannel(const Args& a) {
  const D d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const ConvPackedShape& s = a.plan.shape;
  const PooledColumns columns(s);
  const int32_t read = columns.row_floats();
  float* padded = a.scratch + columns.floats();  // a row between zeros
  std::fill_n(padded, read, 0.0f);
  for (int32_t y = a.row_begin * 2; y < a.row_end * 2 - 1 + s.kernel_h; ++y) {
    const int32_t in_y = y - s.pad_h;
    float* to = a.scratch + columns.Row(y);
    if (in_y < 0 || in_y >= s.in_h) {
      for (int64_t plane = 0; plane < columns.floats(); plane += columns.plane()) {
        std::fill_n(to + plane, 16, 0.0f);
      }
      continue;
    }
    // Lanes past the last pooled column may hold anything: they are never stored.
    const float* from = a.input + int64_t{in_y} * s.in_w;
    if (s.pad_w > 0 || int64_t{in_y} * s.in_w + read > int64_t{s.in_h} * s.in_w) {
      std::copy_n(from, s.in_w, padded + s.pad_w);
      from = padded;
    }
    for (int32_t px = 0; px < columns.width; px += 16, from += 32) {
      for (int32_t j = 0; j < columns.shifts; j += 2) {
        for (int32_t l = 0; l < 16; l += lanes) {
          const hn::Vec<D> low = hn::LoadU(d, from + j + 2 * l);
          const hn::Vec<D> high = hn::LoadU(d, from + j + 2 * l + lanes);
          hn::StoreU(hn::ConcatEven(d, high, low), d, to + l);
          if (j + 1 < columns.shifts) {
            hn::StoreU(hn::ConcatOdd(d, high, low), d, to + l + columns.plane());
          }
        }
        to += std::min(2, columns.shifts - j) * columns.plane();
      }
    }
  }
}
#endif

/// Adds one tap's products to kRows pooled rows.
template <int kRows>
HWY_INLINE void AddTap(const float* weight, const float* in, int64_t right,
                       hn::Vec<D> (&y)[kRows][4]) {
  const D d;
  const hn::Vec<D> w = hn::Set(d, *weight);
  const float* beside = in + right;
  HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
    y[r][0] = hn::MulAdd(hn::LoadU(d, in + 32 * r), w, y[r][0]);
    y[r][2] = hn::MulAdd(hn::LoadU(d, in + 32 * r + 16), w, y[r][2]);
  }
  HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
    y[r][1] = hn::MulAdd(hn::LoadU(d, beside + 32 * r), w, y[r][1]);
    y[r][3] = hn::MulAdd(hn::LoadU(d, beside + 32 * r + 16), w, y[r][3]);
  }
}

/// tile[r][k][lanes] = kernels o + k, k < count, at one vector of pooled columns, pooled rows r
/// from x on: they share a broadcast and keep 4·kRows chains of additions going.
template <int kRows>
void PooledKernels(const ConvPackedPlanF32& plan, int32_t o, int32_t count, const float* x,
                   int64_t right, float* HWY_RESTRICT tile) {
  const D d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  for (const int32_t end_o = o + count; o < end_o; ++o, tile += lanes) {
    hn::Vec<D> y[kRows][4];
    const hn::Vec<D> bias = hn::Set(d, plan.bias_o[o]);
    HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(4) for (int i = 0; i < 4; ++i) y[r][i] = bias;
    }
    int32_t e = plan.begin_b[o];
    const int32_t end = plan.begin_b[o + 1];
    for (; e + 4 <= end; e += 4) {  // a branch for every tap would often be mispredicted
      HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
        AddTap<kRows>(plan.weight + e + i, x + plan.input_e[e + i], right, y);
      }
    }
    for (; e < end; ++e) AddTap<kRows>(plan.weight + e, x + plan.input_e[e], right, y);
    HWY_UNROLL(8) for (int r = 0; r < kRows; ++r) {
      // In the order of max_pool_f32, so that the same one of equal values stays.
      hn::Store(hn::Max(hn::Max(hn::Max(y[r][0], y[r][1]), y[r][2]), y[r][3]), d,
                tile + r * kTileFloats);
    }
  }
}

/// The same for one of the numbers of rows that NextRows gives.
HWY_INLINE void PooledKernels(int32_t rows, const ConvPackedPlanF32& plan, int32_t o, int32_t count,
                              const float* x, int64_t right, float* tile) {
#if HWY_MAX_BYTES >= 64
  if (rows == 7) return PooledKernels<7>(plan, o, count, x, right, tile);
  if (rows == 4) return PooledKernels<4>(plan, o, count, x, right, tile);
#endif
  if (rows == 2) return PooledKernels<2>(plan, o, count, x, right, tile);
  return PooledKernels<1>(plan, o, count, x, right, tile);
}

/// As many pooled rows as registers hold, at most `left`.
HWY_INLINE int32_t NextRows(int32_t left) {
  if (kMostRows >= 7 && left >= 7) return 7;
  if (kMostRows >= 4 && left >= 4) return 4;
  return std::min(left, 2);
}

#if HWY_MAX_BYTES >= 64
/// Of a tile, for TransposeSixteen.
struct Rows {
  const float* tile;
  HWY_INLINE hn::Vec<D> operator()(int k) const { return hn::Load(D(), tile + k * 16); }
};
#endif

/// Pooled rows py … py + rows - 1, one vector of columns from px on, channels last.
HWY_INLINE void MapTile(const Args& a, const PooledColumns& columns, int32_t py, int32_t rows,
                        int32_t px) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(D()));
  HWY_ALIGN float tile[kMostRows * kTileFloats];
  const float* x = a.scratch + columns.vector(px) + py * 32;
  const int32_t count = std::min(lanes, columns.width - px);
  for (int32_t o = 0; o < s.out_c; o += 16) {
    const int32_t kernels = std::min(16, s.out_c - o);
    PooledKernels(rows, a.plan, o, kernels, x, s.stride_w * columns.plane(), tile);
    for (int r = 0; r < rows; ++r) {
      float* y = a.output + (int64_t{py + r} * columns.width + px) * a.output_stride;
      const float* from = tile + r * kTileFloats;
#if HWY_MAX_BYTES >= 64
      if (kernels == 16) {
        TransposeSixteen(Rows{from}, [&](int32_t i, hn::Vec<D> kernel) HWY_ATTR {
          if (i < count) hn::StoreU(kernel, D(), y + i * a.output_stride + o);
        });
        continue;
      }
#endif
      float* position[16];
      for (int32_t i = 0; i < lanes; ++i)
        position[i] = i < count ? y + i * a.output_stride : nullptr;
      for (int32_t k = 0; k < kernels; k += 4) {
        StoreTransposed(from + k * lanes, lanes, position, o + k, s.out_c);
      }
    }
  }
}

/// value[lanes], index[lanes] = the largest of kernel[width][lanes] after ReLU and which it is, the
/// first of equals.
template <int kWidth>
HWY_INLINE void BestOfGroup(const float* kernel, int32_t width, float* value, float* index) {
  const D d;
  const hn::RebindToSigned<D> di;
  const size_t lanes = hn::Lanes(d);
  if (kWidth > 0) width = kWidth;
  hn::Vec<D> best = hn::Zero(d);
  hn::Vec<decltype(di)> best_k = hn::Zero(di), k = best_k;
  HWY_UNROLL(16) for (int32_t i = 0; i < width; ++i, k = hn::Add(k, hn::Set(di, 1))) {
    const hn::Vec<D> y = hn::Load(d, kernel + i * lanes);
    const auto wins = hn::Gt(y, best);  // not NaN
    best = hn::IfThenElse(wins, y, best);
    best_k = hn::IfThenElse(hn::RebindMask(di, wins), k, best_k);
  }
  hn::Store(best, d, value);
  hn::Store(hn::BitCast(d, best_k), d, index);
}

/// As MapTile, but of each group of channels the winner alone.
HWY_INLINE void WinnersTile(const Args& a, const PooledWinnersF32& winners,
                            const PooledColumns& columns, int32_t py, int32_t rows, int32_t px) {
  const D d;
  const ConvPackedShape& s = a.plan.shape;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d)), width = s.out_c / winners.groups;
  HWY_ALIGN float tile[kMostRows * kTileFloats];
  HWY_ALIGN float best[kMostRows * kTileFloats];  // of a row: values of 8 groups, their indices
  const float* x = a.scratch + columns.vector(px) + py * 32;
  const int32_t count = std::min(lanes, columns.width - px);
  for (int32_t first = 0; first < winners.groups; first += 8) {
    const int32_t groups = std::min(8, winners.groups - first);
    for (int32_t g = 0; g < groups; ++g) {
      PooledKernels(rows, a.plan, (first + g) * width, width, x, s.stride_w * columns.plane(),
                    tile);
      for (int32_t r = 0; r < rows; ++r) {
        const float* kernel = tile + r * kTileFloats;
        float* value = best + r * kTileFloats + g * lanes;
        if (width == 8) {
          BestOfGroup<8>(kernel, width, value, value + 8 * lanes);
        } else {
          BestOfGroup<0>(kernel, width, value, value + 8 * lanes);
        }
      }
    }
    for (int32_t r = 0; r < rows; ++r) {
      const float* value = best + r * kTileFloats;
      const int32_t position = (py + r) * columns.width + px;
      float* value_k = winners.value_k + int64_t{position} * winners.groups + first;
      int32_t* index_k = winners.index_k + int64_t{position} * winners.groups + first;
#if HWY_MAX_BYTES >= 64
      if (groups == 8) {
        const hn::Half<hn::RebindToSigned<D>> half;
        const auto channel = hn::Mul(hn::Iota(half, first), hn::Set(half, width));
        TransposeSixteen(Rows{value}, [&](int32_t i, hn::Vec<D> group) HWY_ATTR {
          if (i >= count) return;
          hn::StoreU(hn::LowerHalf(group), hn::Half<D>(), value_k + int64_t{i} * winners.groups);
          const auto index = hn::Add(hn::BitCast(half, hn::UpperHalf(hn::Half<D>(), group)),
                                     hn::Set(half, (position + i) * s.out_c));
          hn::StoreU(hn::Add(index, channel), half, index_k + int64_t{i} * winners.groups);
        });
        continue;
      }
#endif
      const int32_t* index = reinterpret_cast<const int32_t*>(value + 8 * lanes);
      for (int32_t i = 0; i < count; ++i, value_k += winners.groups, index_k += winners.groups) {
        for (int32_t g = 0; g < groups; ++g) {
          value_k[g] = value[g * lanes + i];
          index_k[g] = (position + i) * s.out_c + (first + g) * width + index[g * lanes + i];
        }
      }
    }
  }
}

/// tile(py, rows, px) for every tile of the pooled rows row_begin … row_end.
template <class Tile>
HWY_INLINE void ForTiles(const Args& a, const Tile& tile) {
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(D()));
  const ConvPackedShape& s = a.plan.shape;
  if (a.row_begin >= a.row_end) return;
#if HWY_TARGET != HWY_SCALAR
  if (s.in_c == 1 && s.stride_w == 1 && s.stride_h == 1) {
    ShiftRowsOfOneChannel(a);
  } else
#endif
    ShiftRows(a);
  for (int32_t px = 0; px < s.out_w / 2; px += lanes) {
    for (int32_t py = a.row_begin, rows; py < a.row_end; py += rows) {
      rows = NextRows(a.row_end - py);
      tile(py, rows, px);
    }
  }
}

void ConvPooled(const Args& a) {
  const PooledColumns columns(a.plan.shape);
  ForTiles(
      a, [&](int32_t py, int32_t rows, int32_t px) HWY_ATTR { MapTile(a, columns, py, rows, px); });
}

void ConvPooledWinners(const Args& a, const PooledWinnersF32& winners) {
  const PooledColumns columns(a.plan.shape);
  ForTiles(a, [&](int32_t py, int32_t rows, int32_t px)
                  HWY_ATTR { WinnersTile(a, winners, columns, py, rows, px); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvPooled);
HWY_EXPORT(ConvPooledWinners);

void ConvPackedPooledF32(const ConvPackedDenseF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvPooled)(args);
}

bool CanPoolWinnersF32(const ConvPackedPlanF32& plan, const KwtaF32Args& kwta) noexcept {
  return plan.form == ConvPackedForm::kPooledColumns && !kwta.global && kwta.chunk == 1 &&
         kwta.winners == kwta.groups && kwta.channels / kwta.groups <= 16;
}

void ConvPackedPooledWinnersF32(const ConvPackedDenseF32Args& args,
                                const PooledWinnersF32& winners) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvPooledWinners)(args, winners);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
