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

/// Of each padded position and quad: four winners' first lines, four values (zero around the map).
struct QuadMap {
  const uint16_t* line;
  const uint8_t* value;
};

/// Winners where they are, only their indices become lines.
bool KeepsPlaces(const ConvQuadsI8Args& a) {
  const int32_t c =
      a.conv->input.channels;  // a power of two: channels are the low bits of the indices
  return HWY_TARGET != HWY_SCALAR && a.conv->reads_in_place() && a.index_k != nullptr &&
         (c & (c - 1)) == 0;
}

HWY_INLINE QuadMap MapOf(const ConvQuadsI8Args& a) {
  if (a.line_k != nullptr) return {a.line_k, a.value_k};
  const auto* line = reinterpret_cast<const uint16_t*>(a.scratch);
  if (KeepsPlaces(a)) return {line, a.value_k};
  return {line, a.scratch + int64_t{a.conv->padded_h()} * a.conv->padded_w() * a.conv->quads * 8};
}

void FindLines(const ConvQuadsI8Args& a) {
  if (a.line_k != nullptr) return;
  const ConvQuadsI8& s = *a.conv;
  const int32_t c = s.input.channels, slots = s.slots, padded_slots = s.quads * 4;
  const int64_t positions = int64_t{s.padded_h()} * s.padded_w();
  uint8_t* value = a.scratch + positions * padded_slots * 2;
  uint16_t* line = reinterpret_cast<uint16_t*>(a.scratch);
#if HWY_TARGET != HWY_SCALAR
  if (KeepsPlaces(a)) {
    const DI32 d;
    const hn::Rebind<uint16_t, DI32> d16;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = positions * slots;
    const VI32 mask = hn::Set(d, c - 1), step = hn::Set(d, s.channel_step);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      const VI32 channel = hn::And(hn::LoadU(d, a.index_k + i), mask);
      hn::StoreU(hn::DemoteTo(d16, hn::Mul(channel, step)), d16, line + i);
    }
    for (; i < count; ++i)
      line[i] = static_cast<uint16_t>((a.index_k[i] & (c - 1)) * s.channel_step);
    return;
  }
#endif
  for (int32_t y = 0; y < s.padded_h(); ++y) {
    for (int32_t x = 0; x < s.padded_w(); ++x, line += padded_slots, value += padded_slots) {
      const int32_t in_y = y - s.window.pad_h, in_x = x - s.window.pad_w;
      const bool inside = in_y >= 0 && in_y < s.input.height && in_x >= 0 && in_x < s.input.width;
      const int32_t position = in_y * s.input.width + in_x, used = inside || s.zero ? slots : 0;
      for (int32_t j = 0; j < used; ++j) {
        const int32_t channel =
            a.index_k ? a.index_k[int64_t{position} * slots + j] - position * c : j;
        line[j] = static_cast<uint16_t>(channel * s.channel_step);
      }
      if (inside) {
        std::memcpy(value, a.value_k + int64_t{position} * slots, static_cast<size_t>(slots));
      } else {
        std::fill_n(value, used, s.zero);
      }
      std::fill(line + used, line + padded_slots, uint16_t{0});
      std::fill(value + used, value + padded_slots, uint8_t{0});
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
/// Sum of output o at (oy, ox).
int32_t Sum(const ConvQuadsI8& s, const QuadMap& map, int32_t oy, int32_t ox, int32_t o) {
  const int32_t b = o / 16, l = o % 16;
  int32_t sum = s.bias_o.data()[o];
  for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
    for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
      const int64_t at = 4 * ((int64_t{oy} * s.padded_w() + ox + kx) * s.quads + s.quad_e[e]);
      for (int j = 0; j < 4; ++j) {
        const int8_t* line =
            s.weight.data() + s.weight_e[e] + int64_t{map.line[at + j]} * 8 + kx / 4 * s.line_bytes;
        sum += line[l / 4 * 16 + kx % 4 * 4 + l % 4] * map.value[at + j];
      }
    }
  }
  return sum;
}

void ConvQuads(const ConvQuadsI8Args& a) {
  const QuadMap map = MapOf(a);
  const ConvQuadsI8& s = *a.conv;
  const int32_t step = s.pool ? 2 : 1;
  uint8_t* y = a.output;
  const int32_t end = std::min(s.output.channels, a.output_end);
  for (int32_t oy = 0; oy + step <= s.output.height; oy += step) {
    for (int32_t ox = 0; ox + step <= s.output.width; ox += step, y += s.output.channels) {
      for (int32_t o = a.output_begin; o < end; ++o) {
        int32_t sum = Sum(s, map, oy, ox, o);
        for (int32_t i = 1; i < step * step; ++i) {
          sum = std::max(sum, Sum(s, map, oy + i / 2, ox + i % 2, o));
        }
        y[o] = static_cast<uint8_t>(std::clamp(sum >> s.shift_o.data()[o], 0, 255));
      }
    }
  }
}
#else
/// 16 bits; one instruction where there is one.
template <int kWord>
HWY_INLINE uint64_t Word(uint64_t words) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  if constexpr (kWord == 1 || kWord == 2) return _bextr_u64(words, 16 * kWord, 16);
#endif
  return words >> 16 * kWord & 0xFFFF;
}

/// Where four winners' lines are, in eighths of a line: a line's and a tail's address are one scaled addition each.
struct Places {
  uint64_t a, b, c, d;
};
HWY_INLINE Places PlacesOf(const uint16_t* line_j) {
#if HWY_TARGET == HWY_AVX2
  return {line_j[0], line_j[1], line_j[2], line_j[3]};  // ports for loads are free
#else
  uint64_t four;
  std::memcpy(&four, line_j, 8);
  return {Word<0>(four), Word<1>(four), Word<2>(four), Word<3>(four)};
#endif
}

/// sum += x · w. g++ would first add the products of several columns to each other, more than AVX2 has registers for.
template <bool kNarrow>
HWY_INLINE void AddDots(VI32& sum, VU8 x, VI8 w) {
  sum = Dot4<kNarrow>(sum, x, w);
#if HWY_TARGET == HWY_AVX2
  asm("" : "+x"(sum.raw));
#endif
}

/// Taps first … first + 3 of four winners, as far as [low, high] reaches.
template <bool kNarrow, int kFirst, int kLow, int kHigh, int kT, int kI>
HWY_INLINE void AddTaps(const int8_t* lines, Places at, VU8 value, VI32* acc) {
  const DI8 d8;
  const DU16 d16;
  constexpr int low = kLow > kFirst ? kLow - kFirst : 0;
  constexpr int high = kHigh - kFirst < 3 ? kHigh - kFirst : 3;
  if constexpr (low <= high) {
    const VI8 x0 = hn::LoadU(d8, lines + at.a * 8), x1 = hn::LoadU(d8, lines + at.b * 8);
    const VI8 x2 = hn::LoadU(d8, lines + at.c * 8), x3 = hn::LoadU(d8, lines + at.d * 8);
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
#endif

/// Input column kI of a tile of kT output columns: taps kx with 0 <= kI - kx < kT.
template <bool kNarrow, int kT, int kKw, int kI, class Quads>
BISPARSE_COLUMN void AddColumn(const int8_t* weight, int64_t line_bytes, const int8_t* tails,
                               const uint16_t* line_j, const uint8_t* value, Quads quads,
                               VI32* acc) {
  (void)line_bytes, (void)tails;  // one of them
  constexpr int low = kI - kT + 1 > 0 ? kI - kT + 1 : 0;
  constexpr int high = kI < kKw - 1 ? kI : kKw - 1;
  int32_t four_values;
  std::memcpy(&four_values, value + kI * quads * 4, 4);
  const VU8 x = hn::BitCast(DU8(), hn::Set(DI32(), four_values));
  const Places at = PlacesOf(line_j + kI * quads * 4);
  constexpr bool tail_only = kKw == 1 && kHasTails;
  if constexpr (!tail_only) AddTaps<kNarrow, 0, low, high, kT, kI>(weight, at, x, acc);
  constexpr int last = kKw - 1;
  if constexpr (tail_only || (kKw == 5 && high == last)) {
#if HWY_TARGET == HWY_AVX3_DL
    const auto tail = [&](uint64_t place) HWY_ATTR {
      return _mm_load_si128(reinterpret_cast<const __m128i*>(tails + place * 2));
    };
    // Loads that broadcast under a mask: no shuffle.
    __m512i four = _mm512_castsi128_si512(tail(at.a));
    four = _mm512_mask_broadcast_i32x4(four, 0x00F0, tail(at.b));
    four = _mm512_mask_broadcast_i32x4(four, 0x0F00, tail(at.c));
    four = _mm512_mask_broadcast_i32x4(four, 0xF000, tail(at.d));
    const __m512i order = _mm512_load_si512(kTailOrder);
    acc[kI - last] = Dot4(acc[kI - last], x, VI8{_mm512_permutexvar_epi8(order, four)});
#elif HWY_TARGET == HWY_AVX2
    const auto tail = [&](uint64_t place) HWY_ATTR {
      return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tails + place * 2));
    };
    const __m128i a = _mm_unpacklo_epi8(tail(at.a), tail(at.b)),
                  b = _mm_unpacklo_epi8(tail(at.c), tail(at.d));
    const VI8 four{_mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b))};
    AddDots<kNarrow>(acc[kI - last], x, four);
#else
    AddTaps<kNarrow, 4, low, high, kT, kI>(weight + line_bytes, at, x, acc);
#endif
  }
  if constexpr (kI + 1 < kT + kKw - 1) {
    AddColumn<kNarrow, kT, kKw, kI + 1>(weight, line_bytes, tails, line_j, value, quads, acc);
  }
}

/// acc: the sums of kT columns at (oy, ox) of block b, from lane l on.
template <bool kNarrow, int kT, int kKw, class Quads>
HWY_INLINE void AddEntries(const ConvQuadsI8& s, const QuadMap& map, int32_t b, int32_t l,
                           int32_t oy, int32_t ox, Quads quads, VI32* acc) {
  const VI32 bias = hn::LoadU(DI32(), s.bias_o.data() + b * 16 + l);
  HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
  const int8_t* tails = s.weight.data() + (kKw + 3) / 4 * s.line_bytes;
  const int64_t first = (int64_t{oy} * s.padded_w() + ox) * quads;
  for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
    const int64_t at = (first + s.quad_e[e]) * 4;
    AddColumn<kNarrow, kT, kKw, 0>(s.weight.data() + s.weight_e[e] + l * 4, s.line_bytes,
                                   tails + s.weight_e[e] / 4 + l, map.line + at, map.value + at,
                                   quads, acc);
  }
}

HWY_INLINE void StoreOutputs(VI32 sum, VI32 shift, int32_t outputs, uint8_t* y) {
  if (HWY_LIKELY(outputs >= static_cast<int32_t>(hn::Lanes(DI32())))) {
    return StoreRequantised(sum, shift, y);
  }
  uint8_t q[16];
  StoreRequantised(sum, shift, q);
  std::copy_n(q, outputs, y);
}

template <bool kNarrow, int kT, int kKw, class Quads>
void Blocks(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  const DI32 d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const ConvQuadsI8& s = *a.conv;
  const int32_t out_c = s.output.channels, out_w = s.output.width;
  for (int32_t o = a.output_begin; o < std::min(out_c, a.output_end); o += lanes) {
    const VI32 shift = hn::LoadU(d, s.shift_o.data() + o);
    for (int32_t oy = 0; oy < s.output.height; ++oy) {
      for (int32_t ox = 0; ox < out_w; ox = NextTile(ox, kT, out_w)) {
        VI32 acc[kT];
        AddEntries<kNarrow, kT, kKw>(s, map, o / 16, o % 16, oy, ox, quads, acc);
        uint8_t* y = a.output + (int64_t{oy} * out_w + ox) * out_c + o;
        HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
          StoreOutputs(acc[t], shift, out_c - o, y + int64_t{t} * out_c);
        }
      }
    }
  }
}

/// The same with the pool: two rows of sums, the larger of each pair of columns, the larger of the rows.
template <bool kNarrow, int kT, int kKw, class Quads>
void PooledBlocks(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  const DI32 d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const ConvQuadsI8& s = *a.conv;
  const int32_t out_c = s.output.channels, columns = s.output.width / 2 * 2;
  for (int32_t o = a.output_begin; o < std::min(out_c, a.output_end); o += lanes) {
    const VI32 shift = hn::LoadU(d, s.shift_o.data() + o);
    for (int32_t oy = 0; oy + 2 <= s.output.height; oy += 2) {
      for (int32_t ox = 0; ox < columns; ox = NextTile(ox, kT, columns)) {
        VI32 acc[kT], largest[kT / 2];
        AddEntries<kNarrow, kT, kKw>(s, map, o / 16, o % 16, oy, ox, quads, acc);
        HWY_UNROLL(8) for (int t = 0; t < kT / 2; ++t) {
          largest[t] = hn::Max(acc[2 * t], acc[2 * t + 1]);
        }
        AddEntries<kNarrow, kT, kKw>(s, map, o / 16, o % 16, oy + 1, ox, quads, acc);
        uint8_t* y = a.output + (int64_t{oy} / 2 * (columns / 2) + ox / 2) * out_c + o;
        HWY_UNROLL(8) for (int t = 0; t < kT / 2; ++t) {
          const VI32 sum = hn::Max(largest[t], hn::Max(acc[2 * t], acc[2 * t + 1]));
          StoreOutputs(sum, shift, out_c - o, y + int64_t{t} * out_c);
        }
      }
    }
  }
}

template <bool kNarrow, int kT, int kKw, class Quads>
void Tiles(const ConvQuadsI8Args& a, const QuadMap& map, Quads quads) {
  if constexpr (kT % 2 == 0) {
    if (a.conv->pool) return PooledBlocks<kNarrow, kT, kKw>(a, map, quads);
  }
  Blocks<kNarrow, kT, kKw>(a, map, quads);
}

template <bool kNarrow, int kT, int kKw>
void Tiles(const ConvQuadsI8Args& a, const QuadMap& map) {
  // One winner in each of eight groups: constant addresses. Of use on AVX2, where instructions are short of pipes.
  if constexpr (HWY_TARGET == HWY_AVX2 && kNarrow && kLargeTiles && kKw == 5 && kT >= 4) {
    constexpr std::integral_constant<int64_t, 2> kTwo{};
    if (a.conv->quads == kTwo) return Tiles<kNarrow, kT, kKw>(a, map, kTwo);
  }
  Tiles<kNarrow, kT, kKw>(a, map, int64_t{a.conv->quads});
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
