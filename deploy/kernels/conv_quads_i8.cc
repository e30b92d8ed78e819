// SPDX-License-Identifier: Apache-2.0
// Read first: conv_quads_i8.h.
#include "deploy/kernels/conv_quads_i8.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "deploy/kernels/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/kernels/conv_quads_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/kernels/conv_quads_lines-inl.h"
#include "deploy/kernels/dot4-inl.h"

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
    for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
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
/// Where four winners' lines are, in units of 8 bytes: a line's and a tail's address are one scaled addition each.
class Places {
 public:
#if HWY_TARGET == HWY_AVX2
  explicit Places(const uint16_t* line_j) : line_j_(line_j) {}  // ports for loads are free
  template <int kJ>
  HWY_INLINE uint64_t Of() const {
    return line_j_[kJ];
  }

 private:
  const uint16_t* line_j_;
#else
  explicit Places(const uint16_t* line_j) { std::memcpy(&four_, line_j, 8); }
  template <int kJ>
  HWY_INLINE uint64_t Of() const {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
    if constexpr (kJ == 1 || kJ == 2) return _bextr_u64(four_, 16 * kJ, 16);
#endif
    return four_ >> 16 * kJ & 0xFFFF;
  }

 private:
  uint64_t four_;
#endif
};

/// sum += x · w. g++ would first add the products of several columns to each other, more than AVX2 has registers for.
template <bool kNarrow>
HWY_INLINE void AddDots(VI32& sum, VU8 x, VI8 w) {
  sum = Dot4<kNarrow>(sum, x, w);
#if HWY_TARGET == HWY_AVX2
  asm("" : "+x"(sum.raw));
#endif
}

/// Registers of 16 sums hold two output rows of a block of 8 outputs: its lines come in halves of a register.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
template <bool kTwoRows>
HWY_INLINE VI8 LoadLine(const int8_t* lines, uint64_t top, uint64_t bottom) {
  if constexpr (!kTwoRows) return hn::LoadU(DI8(), lines + top * 8);
  const auto half = [&](uint64_t place) HWY_ATTR {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(lines + place * 8));
  };
  // A load that broadcasts under a mask: no shuffle.
  return VI8{_mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(half(top)), 0xF0, half(bottom))};
}
/// Of numbers for each output: the register's, or 8 for both rows.
template <bool kTwoRows>
HWY_INLINE VI32 LoadOutputs(const int32_t* of_o) {
  if constexpr (!kTwoRows) return hn::LoadU(DI32(), of_o);
  return VI32{_mm512_broadcast_i64x4(_mm256_load_si256(reinterpret_cast<const __m256i*>(of_o)))};
}
/// Four winners' values for every output.
template <bool kTwoRows>
HWY_INLINE VU8 LoadValues(const uint8_t* top, const uint8_t* bottom) {
  int32_t four_top, four_bottom;
  std::memcpy(&four_top, top, 4);
  std::memcpy(&four_bottom, bottom, 4);
  const VI32 values = hn::Set(DI32(), four_top);
  if constexpr (!kTwoRows) return hn::BitCast(DU8(), values);
  return VU8{_mm512_mask_set1_epi32(values.raw, 0xFF00, four_bottom)};
}
/// In each half the larger of both rows.
HWY_INLINE VI32 MaxOfRows(VI32 v) {
  return hn::Max(v, VI32{_mm512_shuffle_i64x2(v.raw, v.raw, 0x4E)});
}
constexpr bool kHasTwoRows = true;
#else
template <bool kTwoRows>
HWY_INLINE VI8 LoadLine(const int8_t* lines, uint64_t top, uint64_t) {
  return hn::LoadU(DI8(), lines + top * 8);
}
template <bool kTwoRows>
HWY_INLINE VI32 LoadOutputs(const int32_t* of_o) {
  return hn::LoadU(DI32(), of_o);
}
template <bool kTwoRows>
HWY_INLINE VU8 LoadValues(const uint8_t* top, const uint8_t*) {
  int32_t four;
  std::memcpy(&four, top, 4);
  return hn::BitCast(DU8(), hn::Set(DI32(), four));
}
HWY_INLINE VI32 MaxOfRows(VI32 v) { return v; }
constexpr bool kHasTwoRows = false;
#endif

/// Taps first … first + 3 of four winners, as far as [low, high] reaches.
template <bool kNarrow, bool kTwoRows, int kFirst, int kLow, int kHigh, int kT, int kI>
HWY_INLINE void AddTaps(const int8_t* lines, Places at, Places below, VU8 value, VI32* acc) {
  const DI8 d8;
  const DU16 d16;
  constexpr int low = kLow > kFirst ? kLow - kFirst : 0;
  constexpr int high = kHigh - kFirst < 3 ? kHigh - kFirst : 3;
  if constexpr (low <= high) {
    const VI8 x0 = LoadLine<kTwoRows>(lines, at.Of<0>(), below.Of<0>());
    const VI8 x1 = LoadLine<kTwoRows>(lines, at.Of<1>(), below.Of<1>());
    const VI8 x2 = LoadLine<kTwoRows>(lines, at.Of<2>(), below.Of<2>());
    const VI8 x3 = LoadLine<kTwoRows>(lines, at.Of<3>(), below.Of<3>());
    const auto add = [&](auto words, int tap) HWY_ATTR {
      AddDots<kNarrow>(acc[kI - kFirst - tap], value, hn::BitCast(d8, words));
    };
    if constexpr (low <= 1) {
      const auto a = hn::BitCast(d16, hn::InterleaveLower(d8, x0, x1));
      const auto b = hn::BitCast(d16, hn::InterleaveLower(d8, x2, x3));
      if constexpr (low == 0) add(hn::InterleaveLower(d16, a, b), 0);
      if constexpr (high >= 1) add(hn::InterleaveUpper(d16, a, b), 1);
    }
    if constexpr (high >= 2) {
      const auto a = hn::BitCast(d16, hn::InterleaveUpper(d8, x0, x1));
      const auto b = hn::BitCast(d16, hn::InterleaveUpper(d8, x2, x3));
      if constexpr (low <= 2) add(hn::InterleaveLower(d16, a, b), 2);
      if constexpr (high >= 3) add(hn::InterleaveUpper(d16, a, b), 3);
    }
  }
}

/// Single last taps are read from lines of their own, a quarter as long.
constexpr bool kHasTails = HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX2;

#if HWY_TARGET == HWY_AVX3_DL
/// Byte 4·o + j of four tails = tail j, output o.
alignas(64) constexpr uint8_t kTailOrder[64] = {
    0,  16, 32, 48, 1,  17, 33, 49, 2,  18, 34, 50, 3,  19, 35, 51, 4,  20, 36, 52, 5,  21,
    37, 53, 6,  22, 38, 54, 7,  23, 39, 55, 8,  24, 40, 56, 9,  25, 41, 57, 10, 26, 42, 58,
    11, 27, 43, 59, 12, 28, 44, 60, 13, 29, 45, 61, 14, 30, 46, 62, 15, 31, 47, 63};
/// The same in each half, of tails of 8 bytes.
alignas(64) constexpr uint8_t kTailOrderTwoRows[64] = {
    0,  8,  16, 24, 1,  9,  17, 25, 2,  10, 18, 26, 3,  11, 19, 27, 4,  12, 20, 28, 5,  13,
    21, 29, 6,  14, 22, 30, 7,  15, 23, 31, 32, 40, 48, 56, 33, 41, 49, 57, 34, 42, 50, 58,
    35, 43, 51, 59, 36, 44, 52, 60, 37, 45, 53, 61, 38, 46, 54, 62, 39, 47, 55, 63};
#endif

#if HWY_TARGET == HWY_AVX3_DL
/// The only or last tap of four winners, with what a dot product wants beside each other.
template <bool kTwoRows>
HWY_INLINE VI8 LoadTails(const int8_t* tails, Places at, Places below) {
  // Loads that broadcast under a mask: no shuffle.
  if constexpr (kTwoRows) {
    const auto tail = [&](uint64_t place) HWY_ATTR {
      return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tails + place * 2));
    };
    __m512i eight = _mm512_castsi128_si512(tail(at.Of<0>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x02, tail(at.Of<1>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x04, tail(at.Of<2>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x08, tail(at.Of<3>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x10, tail(below.Of<0>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x20, tail(below.Of<1>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x40, tail(below.Of<2>()));
    eight = _mm512_mask_broadcastq_epi64(eight, 0x80, tail(below.Of<3>()));
    return VI8{_mm512_permutexvar_epi8(_mm512_load_si512(kTailOrderTwoRows), eight)};
  }
  const auto tail = [&](uint64_t place) HWY_ATTR {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(tails + place * 2));
  };
  __m512i four = _mm512_castsi128_si512(tail(at.Of<0>()));
  four = _mm512_mask_broadcast_i32x4(four, 0x00F0, tail(at.Of<1>()));
  four = _mm512_mask_broadcast_i32x4(four, 0x0F00, tail(at.Of<2>()));
  four = _mm512_mask_broadcast_i32x4(four, 0xF000, tail(at.Of<3>()));
  return VI8{_mm512_permutexvar_epi8(_mm512_load_si512(kTailOrder), four)};
}
#elif HWY_TARGET == HWY_AVX2
template <bool kTwoRows>
HWY_INLINE VI8 LoadTails(const int8_t* tails, Places at, Places) {
  const auto tail = [&](uint64_t place) HWY_ATTR {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tails + place * 2));
  };
  const __m128i a = _mm_unpacklo_epi8(tail(at.Of<0>()), tail(at.Of<1>())),
                b = _mm_unpacklo_epi8(tail(at.Of<2>()), tail(at.Of<3>()));
  return VI8{_mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b))};
}
#endif

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
HWY_INLINE RowsOf FindRows(const ConvQuadsI8Args& a, int32_t b, int32_t oy, bool two) {
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
      const RowsOf rows = FindRows(a, b, oy, two);
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
      const RowsOf rows = FindRows(a, b, oy, true);
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
  switch (a.conv->window.kernel_w) {
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
