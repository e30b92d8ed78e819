// SPDX-License-Identifier: Apache-2.0
// Read first: conv_quads_i8.h.
#include "deploy/ops/conv/conv_quads_i8.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "deploy/ops/conv/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_quads_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_quads_lines-inl.h"
#include "deploy/ops/conv/conv_quads_taps-inl.h"
#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

// Under AddressSanitizer small tiles, a function a column: g++ would be at large ones for a quarter of an hour.
#undef BISPARSE_COLUMN
#if HWY_IS_ASAN || defined(__SANITIZE_ADDRESS__)
constexpr bool kLargeTiles = false;
#define BISPARSE_COLUMN HWY_NOINLINE
#else
constexpr bool kLargeTiles = true;
#define BISPARSE_COLUMN HWY_INLINE
#endif

#if HWY_TARGET == HWY_SCALAR
/// Sum of output o at (oy, ox); gathered: of the rows that stand for oy.
int32_t Sum(const ConvQuadsI8& s, const QuadMap& map, int32_t oy, int32_t ox, int32_t o) {
  const int32_t b = o / s.lanes, l = o % s.lanes;
  int32_t sum = s.bias_o.data()[o];
  const int64_t row = s.gathered ? 0 : int64_t{oy} * s.padded_w();
  for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
    for (int32_t kx = 0; kx < s.row_taps; ++kx) {
      const int64_t at = 4 * ((row + ox + kx) * s.quads + s.quad_e[e]);
      const int32_t quarter = s.by_sets ? b / s.set_size % 4 : kx % 4;
      for (int j = 0; j < 4; ++j) {
        const int8_t* line =
            s.weight.data() + s.weight_e[e] + int64_t{map.line[at + j]} * 8 + kx / 4 * s.line_bytes;
        sum += line[l / 4 * 16 + quarter * 4 + l % 4] * map.value[at + j];
      }
    }
  }
  return sum;
}

void ConvQuads(const ConvQuadsI8Args& a) {
  const QuadMap map = MapOf(a);
  const ConvQuadsI8& s = *a.conv;
  const int32_t step = s.pool ? 2 : 1;
  const int32_t end = std::min(s.output.channels, a.output_end);
  for (int32_t o = a.output_begin; o < end; ++o) {
    uint8_t* y = a.output + o;
    for (int32_t oy = 0; oy + step <= s.output.height; oy += step) {
      for (int32_t ox = 0; ox + step <= s.output.width; ox += step, y += s.output.channels) {
        int32_t sum = std::numeric_limits<int32_t>::min();
        for (int32_t i = 0; i < step * step; ++i) {
          if (s.gathered) GatherRows(a, o / s.lanes, oy + i / 2, 0);
          sum = std::max(sum, Sum(s, map, oy + i / 2, ox + i % 2, o));
        }
        *y = static_cast<uint8_t>(std::clamp(sum >> s.shift_o.data()[o], 0, 255));
      }
    }
  }
}
#else
/// A block's weights in an entry's set, its own lanes first.
struct Weights {
  const int8_t* lines;
  const int8_t* tails;
};

/// Input column kI of a tile of kT output columns: taps kx with 0 <= kI - kx < kT. `below`: from the map's quads to the
/// ones that the second row reads.
template <bool kNarrow, bool kTwoRows, int kT, int kKw, int kI, class Quads>
BISPARSE_COLUMN void AddColumn(Weights weight, int64_t line_bytes, const uint16_t* line_j,
                               const uint8_t* value, int64_t below, Quads quads, VI32* acc) {
  (void)line_bytes;
  constexpr int low = kI - kT + 1 > 0 ? kI - kT + 1 : 0;
  constexpr int high = kI < kKw - 1 ? kI : kKw - 1;
  const int64_t column = kI * quads * 4;
  const VU8 x = LoadValues<kTwoRows>(value + column, value + column + (kTwoRows ? below : 0));
  const Places at(line_j + column);
  const Places at_below(line_j + column + (kTwoRows ? below : 0));
  constexpr bool tail_only = kKw == 1 && kHasTails;
  if constexpr (!tail_only) {
    AddTaps<kNarrow, kTwoRows, 0, low, high, kT, kI>(weight.lines, at, at_below, x, acc);
  }
  constexpr int last = kKw - 1;
  if constexpr (tail_only || (kKw == 5 && high == last)) {
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX2
    AddDots<kNarrow>(acc[kI - last], x, LoadTails<kTwoRows>(weight.tails, at, at_below));
#else
    AddTaps<kNarrow, kTwoRows, 4, low, high, kT, kI>(weight.lines + line_bytes, at, at_below, x,
                                                     acc);
#endif
  }
  if constexpr (kI + 1 < kT + kKw - 1) {
    AddColumn<kNarrow, kTwoRows, kT, kKw, kI + 1>(weight, line_bytes, line_j, value, below, quads,
                                                  acc);
  }
}

/// The outputs from o on, as many as a register holds of a block: lanes l … of block b.
struct Outputs {
  int32_t o, b, l;
};

/// acc: the sums of kT columns. first: the map's quad at the first of them; below: from there to the quad a row below.
template <bool kNarrow, bool kTwoRows, int kT, int kKw, class Quads>
HWY_INLINE void AddEntries(const ConvQuadsI8& s, const QuadMap& map, int64_t first, int64_t below,
                           Outputs of, Quads quads, VI32* acc) {
  const VI32 bias = LoadOutputs<kTwoRows>(s.bias_o.data() + of.o);
  HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
  const int8_t* tails = s.weight.data() + (kKw + 3) / 4 * s.line_bytes;
  for (int32_t e = s.begin_b[of.b]; e < s.begin_b[of.b + 1]; ++e) {
    const int64_t at = (first + s.quad_e[e]) * 4;
    AddColumn<kNarrow, kTwoRows, kT, kKw, 0>(
        {s.weight.data() + s.weight_e[e] + of.l * 4, tails + s.weight_e[e] / 4 + of.l},
        s.line_bytes, map.line + at, map.value + at, below * 4, quads, acc);
  }
}

/// The quads that output row oy begins with: of the map, or of rows that are gathered for it and the one below.
struct RowsOf {
  int64_t first = 0, below = 0;
};
HWY_INLINE RowsOf RowsFor(const ConvQuadsI8Args& a, int32_t b, int32_t oy, bool two) {
  const ConvQuadsI8& s = *a.conv;
  const int64_t row = int64_t{s.padded_w()} * s.quads;
  if (!s.gathered) return {oy * row, two ? row : 0};
  GatherRows(a, b, oy, 0);
  if (!two) return {};
  GatherRows(a, b, oy + 1, 1);
  return {0, int64_t{s.most_entries} * s.row_w()};
}

/// `below`: bytes to the outputs of the second row.
template <bool kTwoRows>
HWY_INLINE void StoreOutputs(VI32 sum, VI32 shift, int32_t outputs, int64_t below, uint8_t* y) {
  if constexpr (!kTwoRows) {
    if (HWY_LIKELY(outputs >= static_cast<int32_t>(hn::Lanes(DI32())))) {
      return StoreRequantised(sum, shift, y);
    }
  }
  uint8_t q[16];
  StoreRequantised(sum, shift, q);
  if constexpr (kTwoRows) {
    if (HWY_LIKELY(outputs >= 8)) {
      std::memcpy(y, q, 8);
      std::memcpy(y + below, q + 8, 8);
      return;
    }
    std::copy_n(q + 8, outputs, y + below);
  }
  std::copy_n(q, outputs, y);
}

template <bool kNarrow, bool kTwoRows, int kT, int kKw, class Quads>
void Blocks(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  const ConvQuadsI8& s = *a.conv;
  const int32_t out_c = s.output.channels, end = std::min(out_c, a.output_end);
  constexpr int32_t lanes = kTwoRows ? 8 : hn::MaxLanes(DI32());
  // Whom a gathered row serves: a block, which is one register where registers are that wide.
  const int32_t together = lanes < 16 && !kTwoRows && s.gathered ? s.lanes : lanes;
  const int32_t out_w = s.output.width, out_h = s.output.height;
  for (int32_t first = a.output_begin; first < end; first += together) {
    const int32_t b = first / s.lanes;
    for (int32_t oy = 0; oy < out_h; oy += kTwoRows ? 2 : 1) {
      const bool two = kTwoRows && oy + 1 < out_h;  // else both halves are this row
      const RowsOf rows = RowsFor(a, b, oy, two);
      const int64_t row_bytes = two ? int64_t{out_w} * out_c : 0;
      for (int32_t o = first; o < std::min(first + together, end); o += lanes) {
        const Outputs of{o, b, o - b * s.lanes};
        const VI32 shift = LoadOutputs<kTwoRows>(s.shift_o.data() + o);
        for (int32_t ox = 0; ox < out_w; ox = NextTile(ox, kT, out_w)) {
          VI32 acc[kT];
          AddEntries<kNarrow, kTwoRows, kT, kKw>(s, map, rows.first + ox * quads, rows.below, of,
                                                 quads, acc);
          uint8_t* y = a.output + (int64_t{oy} * out_w + ox) * out_c + o;
          HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
            StoreOutputs<kTwoRows>(acc[t], shift, out_c - o, row_bytes, y + int64_t{t} * out_c);
          }
        }
      }
    }
  }
}

/// The same with the pool: two rows of sums, the larger of each pair of columns, the larger of the rows.
template <bool kNarrow, bool kTwoRows, int kT, int kKw, class Quads>
void PooledBlocks(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  const ConvQuadsI8& s = *a.conv;
  const int32_t out_c = s.output.channels, end = std::min(out_c, a.output_end);
  constexpr int32_t lanes = kTwoRows ? 8 : hn::MaxLanes(DI32());
  // Whom a gathered row serves: a block, which is one register where registers are that wide.
  const int32_t together = lanes < 16 && !kTwoRows && s.gathered ? s.lanes : lanes;
  const int32_t columns = s.output.width / 2 * 2;
  for (int32_t first = a.output_begin; first < end; first += together) {
    const int32_t b = first / s.lanes;
    for (int32_t oy = 0; oy + 2 <= s.output.height; oy += 2) {
      const RowsOf rows = RowsFor(a, b, oy, true);
      for (int32_t o = first; o < std::min(first + together, end); o += lanes) {
        const Outputs of{o, b, o - b * s.lanes};
        const VI32 shift = LoadOutputs<kTwoRows>(s.shift_o.data() + o);
        for (int32_t ox = 0; ox < columns; ox = NextTile(ox, kT, columns)) {
          VI32 acc[kT], largest[kT / 2];
          const int64_t at = rows.first + ox * quads;
          AddEntries<kNarrow, kTwoRows, kT, kKw>(s, map, at, rows.below, of, quads, acc);
          HWY_UNROLL(8) for (int t = 0; t < kT / 2; ++t) {
            largest[t] = hn::Max(acc[2 * t], acc[2 * t + 1]);
          }
          if constexpr (!kTwoRows) {
            AddEntries<kNarrow, false, kT, kKw>(s, map, at + rows.below, 0, of, quads, acc);
          }
          uint8_t* y = a.output + (int64_t{oy} / 2 * (columns / 2) + ox / 2) * out_c + o;
          HWY_UNROLL(8) for (int t = 0; t < kT / 2; ++t) {
            const VI32 sum = kTwoRows ? MaxOfRows(largest[t])
                                      : hn::Max(largest[t], hn::Max(acc[2 * t], acc[2 * t + 1]));
            StoreOutputs<kTwoRows>(sum, shift, out_c - o, 0, y + int64_t{t} * out_c);
          }
        }
      }
    }
  }
}

template <bool kNarrow, bool kTwoRows, int kT, int kKw, class Quads>
void Tiles(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  if constexpr (kT % 2 == 0) {
    if (a.conv->pool) return PooledBlocks<kNarrow, kTwoRows, kT, kKw>(a, map, quads);
  }
  Blocks<kNarrow, kTwoRows, kT, kKw>(a, map, quads);
}

template <bool kNarrow, int kT, int kKw>
void Tiles(const ConvQuadsI8Args& a, const QuadMap& map) {
  // One winner in each of eight groups: constant addresses. Of use on AVX2, where instructions are short of pipes.
  if constexpr (HWY_TARGET == HWY_AVX2 && kNarrow && kLargeTiles && kKw == 5 && kT >= 4) {
    constexpr std::integral_constant<int64_t, 2> kTwo{};
    if (a.conv->quads == kTwo) return Tiles<kNarrow, false, kT, kKw>(a, map, kTwo);
  }
  if constexpr (kHasTwoRows) {
    constexpr std::integral_constant<int64_t, 1> kOne{};  // they are gathered
    if (a.conv->lanes == 8) return Tiles<kNarrow, true, kT, kKw>(a, map, kOne);
  }
  Tiles<kNarrow, false, kT, kKw>(a, map, int64_t{a.conv->quads});
}

/// Of tiles of more than 4 columns there is no code for the long way of files with wider weights.
template <bool kNarrow, int kKw>
void Columns(const ConvQuadsI8Args& a, const QuadMap& map) {
  const ConvQuadsI8& s = *a.conv;
  int32_t tile = ChooseTileColumns(s.pool ? s.output.width / 2 * 2 : s.output.width);
  if (s.pool && tile % 2 != 0) tile = tile == 5 ? 4 : 2;  // pairs of columns
  if constexpr (kNarrow == kHasNarrow && kLargeTiles) {
    if (tile == 10) return Tiles<kNarrow, 10, kKw>(a, map);
    if (tile == 8) return Tiles<kNarrow, 8, kKw>(a, map);
    if (tile == 5) return Tiles<kNarrow, 5, kKw>(a, map);
  } else if (tile > 4) {
    tile = 4;
  }
  if (tile == 4) return Tiles<kNarrow, 4, kKw>(a, map);
  if (tile == 2) return Tiles<kNarrow, 2, kKw>(a, map);
  Tiles<kNarrow, 1, kKw>(a, map);
}

template <bool kNarrow>
void Kernels(const ConvQuadsI8Args& a) {
  const QuadMap map = MapOf(a);
  switch (a.conv->row_taps) {
    case 1:
      return Columns<kNarrow, 1>(a, map);
    case 3:
      return Columns<kNarrow, 3>(a, map);
    default:
      return Columns<kNarrow, 5>(a, map);
  }
}

void ConvQuads(const ConvQuadsI8Args& a) {
  if (a.conv->by_sets) return ConvQuadsSetsI8Run(a);
  if (kHasNarrow && a.conv->narrow) return Kernels<kHasNarrow>(a);
  Kernels<false>(a);
}
#endif  // HWY_SCALAR

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvQuads);
HWY_EXPORT(FindLines);

void ConvQuadsI8FindLines(const ConvQuadsI8Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(FindLines)(args);
}

void ConvQuadsI8Run(const ConvQuadsI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(ConvQuads)(args); }

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
