// SPDX-License-Identifier: Apache-2.0
// conv_quads_i8's innermost steps: from where four winners' lines are to what a dot product wants, tap by tap. Read first:
// conv_quads_i8.h. Included once for each target. Tested in: conv_quads_i8_test.cc.
#if defined(BISPARSE_CONV_QUADS_TAPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_CONV_QUADS_TAPS_INL_H_
#undef BISPARSE_CONV_QUADS_TAPS_INL_H_
#else
#define BISPARSE_CONV_QUADS_TAPS_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
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

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_CONV_QUADS_TAPS_INL_H_
