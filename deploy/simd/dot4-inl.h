// SPDX-License-Identifier: Apache-2.0
// The one seam for int8 dot products, exact on every target:
//
//   Dot4(acc, x, w)[i] = acc[i] + Σ_{j<4} x[4i + j] · w[4i + j]      x u8, w s8, acc i32
//
// AVX-512 with VNNI (AVX3_DL) and NEON's widening multiplies have it in one to a few instructions.
// Elsewhere products are widened to 16 bits first: vpmaddubsw would saturate (255·127·2 > 32767). With kNarrow all
// |w| <= packed::kNarrowWeight, where it does not (255·64·2 < 32767): three instructions instead of nine.
// Included once for each target, last of all. Tested in: deploy/ops/shared/matmul_i8_test.cc.
#if defined(BISPARSE_DOT4_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_DOT4_INL_H_
#undef BISPARSE_DOT4_INL_H_
#else
#define BISPARSE_DOT4_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"

// After highway.h.
#include "deploy/simd/vnni_target.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR  // one lane has no four bytes: kernels have a plain loop there
// Registers of at most 64 bytes: 16 sums.
using DI32 = hn::CappedTag<int32_t, 16>;
using DU8 = hn::Repartition<uint8_t, DI32>;
using DI8 = hn::Repartition<int8_t, DI32>;
using DU16 = hn::Repartition<uint16_t, DI32>;
using VI32 = hn::Vec<DI32>;
using VU8 = hn::Vec<DU8>;
using VI8 = hn::Vec<DI8>;

/// Where narrow weights are faster.
constexpr bool kHasNarrow =
    HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

template <bool kNarrow = false>
HWY_INLINE VI32 Dot4(VI32 acc, VU8 x, VI8 w) {
  static_assert(!kNarrow || kHasNarrow);
#if HWY_TARGET == HWY_AVX3
  if constexpr (kNarrow) {
    const __m512i pairs = _mm512_maddubs_epi16(x.raw, w.raw);
    return hn::Add(acc, VI32{_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))});
  }
#elif HWY_TARGET == HWY_AVX2
  if constexpr (kNarrow) {
    const __m256i pairs = _mm256_maddubs_epi16(x.raw, w.raw);
    return hn::Add(acc, VI32{_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))});
  }
#elif HWY_TARGET == HWY_SSE4
  if constexpr (kNarrow) {
    const __m128i pairs = _mm_maddubs_epi16(x.raw, w.raw);
    return hn::Add(acc, VI32{_mm_madd_epi16(pairs, _mm_set1_epi16(1))});
  }
#endif
#if HWY_TARGET == HWY_AVX3_DL
  return VI32{_mm512_dpbusd_epi32(acc.raw, x.raw, w.raw)};
#elif HWY_TARGET == HWY_NEON
  const int16x8_t low =
      vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x.raw))), vmovl_s8(vget_low_s8(w.raw)));
  const int16x8_t high = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(x.raw))),
                                   vmovl_s8(vget_high_s8(w.raw)));
  return VI32(vaddq_s32(acc.raw, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high))));
#else
  const hn::Repartition<int16_t, DI32> d16;
  const DU16 du16;
  const auto x16 = hn::BitCast(du16, x);
  const auto x_even = hn::BitCast(d16, hn::And(x16, hn::Set(du16, 0x00FF)));
  const auto x_odd = hn::BitCast(d16, hn::ShiftRight<8>(x16));
  const auto w16 = hn::BitCast(d16, w);
  const auto w_even = hn::ShiftRight<8>(hn::ShiftLeft<8>(w16));
  const auto w_odd = hn::ShiftRight<8>(w16);
#if HWY_TARGET == HWY_AVX3
  const __m512i even = _mm512_madd_epi16(x_even.raw, w_even.raw);
  return hn::Add(acc, VI32{_mm512_add_epi32(even, _mm512_madd_epi16(x_odd.raw, w_odd.raw))});
#elif HWY_TARGET == HWY_AVX2
  const __m256i even = _mm256_madd_epi16(x_even.raw, w_even.raw);
  return hn::Add(acc, VI32{_mm256_add_epi32(even, _mm256_madd_epi16(x_odd.raw, w_odd.raw))});
#elif HWY_TARGET == HWY_SSE4
  const __m128i even = _mm_madd_epi16(x_even.raw, w_even.raw);
  return hn::Add(acc, VI32{_mm_add_epi32(even, _mm_madd_epi16(x_odd.raw, w_odd.raw))});
#else
  // Products fit 16 bits (255·127 < 32768), their sums of two may not: widen before adding.
  const DI32 d;
  const auto even = hn::BitCast(d, hn::Mul(x_even, w_even));
  const auto odd = hn::BitCast(d, hn::Mul(x_odd, w_odd));
  const auto low = [&](auto v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto high = [&](auto v) { return hn::ShiftRight<16>(v); };
  return hn::Add(acc, hn::Add(hn::Add(low(even), high(even)), hn::Add(low(odd), high(odd))));
#endif
#endif
}

/// clamp(v, 0, 255) as Lanes(DI32()) bytes.
HWY_INLINE void StoreClamped(VI32 v, uint8_t* q) {
  const DI32 d;
  const VI32 positive = hn::Max(v, hn::Zero(d));
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtusepi32_epi8(positive.raw));
#else
  // DemoteTo goes through 16 bits: it is right for numbers that fit those.
  const hn::Rebind<uint8_t, DI32> d8;
  hn::StoreU(hn::DemoteTo(d8, hn::Min(positive, hn::Set(d, 255))), d8, q);
#endif
}

/// clamp(acc >> shift, 0, 255); the rounding term is in acc already. Writes Lanes(DI32()) bytes.
HWY_INLINE void StoreRequantised(VI32 acc, VI32 shift, uint8_t* q) {
  StoreClamped(hn::Shr(acc, shift), q);
}

#endif  // HWY_TARGET != HWY_SCALAR

/// q[o] = clamp(acc[o] >> shift_o[o], 0, 255) for o < n.
HWY_INLINE void RequantiseRow(const int32_t* acc, int64_t n, const int32_t* shift_o, uint8_t* q) {
  int64_t o = 0;
#if HWY_TARGET != HWY_SCALAR
  const DI32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX2
  // Four registers become one: to signed 16 bits, then to bytes, both with saturation, in blocks of 128 bits.
  for (; o + 4 * lanes <= n; o += 4 * lanes) {
    const auto at = [&](int64_t i) HWY_ATTR {
      return hn::Shr(hn::LoadU(d, acc + o + i * lanes), hn::LoadU(d, shift_o + o + i * lanes)).raw;
    };
#if HWY_TARGET == HWY_AVX2
    const __m256i packed =
        _mm256_packus_epi16(_mm256_packs_epi32(at(0), at(1)), _mm256_packs_epi32(at(2), at(3)));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + o),
                        _mm256_permutevar8x32_epi32(packed, order));
#else
    const __m512i packed =
        _mm512_packus_epi16(_mm512_packs_epi32(at(0), at(1)), _mm512_packs_epi32(at(2), at(3)));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(q + o, _mm512_permutexvar_epi32(order, packed));
#endif
  }
#endif
  for (; o + lanes <= n; o += lanes) {
    StoreRequantised(hn::LoadU(d, acc + o), hn::LoadU(d, shift_o + o), q + o);
  }
#endif  // HWY_TARGET != HWY_SCALAR
  for (; o < n; ++o) q[o] = static_cast<uint8_t>(std::clamp(acc[o] >> shift_o[o], 0, 255));
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_DOT4_INL_H_
