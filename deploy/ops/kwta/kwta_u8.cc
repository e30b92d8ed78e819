// SPDX-License-Identifier: Apache-2.0
// k-WTA in bytes: the threshold by bisection over its eight bits, all keys compared at once; one
// winner in each group of eight (the aligned networks), or of a multiple of eight, by a fold of 16-bit keys of value and
// index. Read first: kwta_u8.h.
#include "deploy/ops/kwta/kwta_u8.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "deploy/simd/compress_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/kwta/kwta_u8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

/// v >= limit; Highway has no comparison of order for bytes.
template <class V>
HWY_INLINE auto AtLeast(V v, V limit) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  if constexpr (sizeof(V) == 64) return decltype(v == v){_mm512_cmpge_epu8_mask(v.raw, limit.raw)};
#endif
  return hn::Eq(hn::Max(v, limit), v);
}

/// Keys >= bound among x[0 … n).
HWY_INLINE int64_t CountAtLeast(const uint8_t* x, int64_t n, int32_t bound) {
  const hn::CappedTag<uint8_t, 64> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, static_cast<uint8_t>(bound));
  int64_t count = 0, i = 0;
#if HWY_TARGET == HWY_AVX2
  // In bytes, of which each holds up to 255: half the instructions of masks and popcounts here.
  const auto wins = [&](int64_t at) HWY_ATTR {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + at));
    return _mm256_cmpeq_epi8(_mm256_max_epu8(v, limit.raw), v);  // -1 each
  };
  const auto add = [&](__m256i found) HWY_ATTR {
    const __m256i sums = _mm256_sad_epu8(found, _mm256_setzero_si256());
    const __m128i two =
        _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    count += _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
  };
  while (i + 32 <= n) {
    const int64_t end = std::min(n - 32, i + 32 * 250);
    __m256i found = _mm256_setzero_si256(), more = found;
    for (; i + 32 <= end; i += 64) {
      found = _mm256_sub_epi8(found, wins(i));
      more = _mm256_sub_epi8(more, wins(i + 32));
    }
    if (i <= end) {
      found = _mm256_sub_epi8(found, wins(i));
      i += 32;
    }
    if (i < n && n - i < 32 && n >= 32) {  // the last ones, of a register that ends where x does
      const auto bits = static_cast<uint32_t>(_mm256_movemask_epi8(wins(n - 32)));
      count += __builtin_popcount(bits >> (32 - (n - i)));
      i = n;
    }
    add(found);
    add(more);
  }
#endif
  for (; i + lanes <= n; i += lanes) {
    count += static_cast<int64_t>(hn::CountTrue(d, AtLeast(hn::LoadU(d, x + i), limit)));
  }
  for (; i < n; ++i) count += x[i] >= bound;
  return count;
}

/// The k-th largest of x[0 … n), and how many equal to it still win.
struct ThresholdU8 {
  int32_t value;
  int64_t ties;
};

HWY_INLINE ThresholdU8 FindThreshold(const uint8_t* x, int64_t n, int64_t k) {
  int32_t value = 0;
  for (int32_t bit = 128; bit > 0; bit >>= 1) {
    value |= -static_cast<int32_t>(CountAtLeast(x, n, value | bit) >= k) & bit;
  }
  return {value, k - (value == 255 ? 0 : CountAtLeast(x, n, value + 1))};
}

#if HWY_TARGET == HWY_AVX3_DL
alignas(64) constexpr std::array<uint8_t, 64> kPlaces = [] {
  std::array<uint8_t, 64> places{};
  for (size_t i = 0; i < 64; ++i) places[i] = static_cast<uint8_t>(i);
  return places;
}();
#endif

/// Winners of one run of keys that stand at map elements first, first + 1, …; returns how many.
HWY_INLINE int64_t Emit(const uint8_t* x, int64_t n, int32_t first, ThresholdU8 threshold,
                        int32_t* index_k, uint8_t* value_k) {
  const hn::CappedTag<uint8_t, 64> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, static_cast<uint8_t>(threshold.value));
  int64_t out = 0, ties = threshold.ties;
  const auto take = [&](int64_t i) {
    if (x[i] == threshold.value && ties-- <= 0) return;
    index_k[out] = first + static_cast<int32_t>(i);
    value_k[out++] = x[i];
  };
  int64_t i = 0;
#if HWY_TARGET == HWY_AVX3_DL
  const __m512i places = _mm512_load_si512(kPlaces.data());
  for (; i + 64 <= n; i += 64) {
    const __m512i v = _mm512_loadu_si512(x + i);
    const uint64_t above = _mm512_cmpgt_epu8_mask(v, limit.raw);
    uint64_t equal = _mm512_cmpeq_epi8_mask(v, limit.raw);
    const int64_t equals = __builtin_popcountll(equal);
    if (equals > ties) equal = _pdep_u64((uint64_t{1} << ties) - 1, equal);  // the lowest ones
    ties -= std::min(equals, ties);
    const uint64_t wins = above | equal;
    const int64_t count = __builtin_popcountll(wins);
    _mm512_mask_storeu_epi8(value_k + out, count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1,
                            _mm512_maskz_compress_epi8(wins, v));
    alignas(64) uint8_t place[64];
    _mm512_store_si512(place, _mm512_maskz_compress_epi8(wins, places));
    const __m512i base = _mm512_set1_epi32(first + static_cast<int32_t>(i));
    for (int64_t part = 0; part < count; part += 16) {  // most often once
      const __m128i sixteen = _mm_load_si128(reinterpret_cast<const __m128i*>(place + part));
      _mm512_storeu_si512(index_k + out + part,
                          _mm512_add_epi32(_mm512_cvtepu8_epi32(sixteen), base));
    }
    out += count;
  }
#elif HWY_TARGET == HWY_AVX2
  for (; i + 32 <= n; i += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    const auto bits = [](__m256i mask)
                          HWY_ATTR { return static_cast<uint32_t>(_mm256_movemask_epi8(mask)); };
    uint32_t equal = bits(_mm256_cmpeq_epi8(v, limit.raw));
    const uint32_t above = bits(_mm256_cmpeq_epi8(_mm256_max_epu8(v, limit.raw), v)) & ~equal;
    const int64_t equals = __builtin_popcount(equal);
    if (equals > ties) equal = _pdep_u32((1u << ties) - 1, equal);  // the lowest ones
    ties -= std::min(equals, ties);
    const uint32_t wins = above | equal;
    HWY_UNROLL(4) for (int part = 0; part < 32; part += 8) {
      const uint32_t mask = wins >> part & 255;
      const __m128i place = _mm_cvtsi64_si128(static_cast<int64_t>(kCompressLanes[mask]));
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i + part));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(value_k + out), _mm_shuffle_epi8(eight, place));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(index_k + out),
                          _mm256_add_epi32(_mm256_cvtepu8_epi32(place),
                                           _mm256_set1_epi32(first + static_cast<int>(i) + part)));
      out += __builtin_popcount(mask);
    }
  }
#endif
  for (; i + lanes <= n; i += lanes) {
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, AtLeast(hn::LoadU(d, x + i), limit), bytes);
    uint64_t bits;
    std::memcpy(&bits, bytes, sizeof bits);
    for (; bits != 0; bits &= bits - 1) take(i + __builtin_ctzll(bits));
  }
  for (; i < n; ++i) {
    if (x[i] >= threshold.value) take(i);
  }
  return out;
}

/// One winner in each group of eight channels, eight or more groups at once; returns the groups done.
HWY_INLINE int64_t OneOfEight(const uint8_t* x, int64_t groups, int32_t* index_k,
                              uint8_t* value_k) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  // Groups g … g + 7 are 64 bytes. Keys are words: low and high half of each block are two groups.
  const __m512i reversed = _mm512_set1_epi64(0x0001020304050607);
  const __m256i step = _mm256_setr_epi32(7, 15, 23, 31, 39, 47, 55, 63);
  int64_t g = 0;
  for (; g + 8 <= groups; g += 8) {
    const __m512i v = _mm512_loadu_si512(x + g * 8);
    const __m512i low = _mm512_unpacklo_epi8(reversed, v), high = _mm512_unpackhi_epi8(reversed, v);
    const __m512i low4 = _mm512_max_epu16(low, _mm512_shuffle_epi32(low, _MM_PERM_BADC));
    const __m512i high4 = _mm512_max_epu16(high, _mm512_shuffle_epi32(high, _MM_PERM_BADC));
    __m512i m = _mm512_unpacklo_epi64(low4, high4);  // four words a group
    m = _mm512_max_epu16(m, _mm512_shuffle_epi32(m, _MM_PERM_CDAB));
    m = _mm512_max_epu16(m, _mm512_srli_epi32(m, 16));
    const __m128i key = _mm512_cvtepi64_epi16(m);  // word 0 of each group
    const __m256i index = _mm256_and_si256(_mm256_cvtepu16_epi32(key), _mm256_set1_epi32(255));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(index_k + g),
                        _mm256_add_epi32(_mm256_sub_epi32(step, index),
                                         _mm256_set1_epi32(static_cast<int>(g * 8))));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(value_k + g),
                     _mm_packus_epi16(_mm_srli_epi16(key, 8), key));
  }
  return g;
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4
  // The smallest of 255 - value is the largest value, and the first place of it.
  const __m128i most = _mm_set1_epi16(255);
  for (int64_t g = 0; g < groups; ++g) {
    const __m128i v =
        _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + g * 8)));
    const auto best =
        static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_sub_epi16(most, v))));
    index_k[g] = static_cast<int32_t>(g * 8 + (best >> 16));
    value_k[g] = static_cast<uint8_t>(255 - best);
  }
  return groups;
#else
  (void)x, (void)groups, (void)index_k, (void)value_k;
  return 0;
#endif
}

/// One winner in each group of 16, 24 … 256 channels. Keys are words (255 - value) << 8 | place, of which the smallest is
/// the largest value at the first place of it.
HWY_INLINE int64_t OneOfEights(const uint8_t* x, int64_t groups, int32_t width, int32_t* index_k,
                               uint8_t* value_k) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX2 || \
    HWY_TARGET == HWY_SSE4
  const __m128i eight = _mm_set1_epi16(8), most = _mm_set1_epi8(-1);
  const __m128i places = _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7);
  for (int64_t g = 0; g < groups; ++g, x += width) {
    __m128i best = most, place = places;
    for (int32_t i = 0; i < width; i += 8, place = _mm_add_epi16(place, eight)) {
      const __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i));
      const __m128i key = _mm_unpacklo_epi8(_mm_setzero_si128(), _mm_xor_si128(v, most));
      best = _mm_min_epu16(best, _mm_or_si128(key, place));
    }
    const auto key = static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(best))) & 0xffff;
    index_k[g] = static_cast<int32_t>(g * width + (key & 255));
    value_k[g] = static_cast<uint8_t>(255 - (key >> 8));
  }
  return groups;
#else
  (void)x, (void)groups, (void)width, (void)index_k, (void)value_k;
  return 0;
#endif
}

/// One winner in each group of `width` neighbours.
HWY_INLINE void OneOfGroups(const uint8_t* x, int64_t groups, int32_t width, int32_t* index_k,
                            uint8_t* value_k) {
  int64_t g = 0;
  if (width == 8) {
    g = OneOfEight(x, groups, index_k, value_k);
  } else if (width % 8 == 0 && width <= 256) {
    g = OneOfEights(x, groups, width, index_k, value_k);
  }
  for (; g < groups; ++g) {
    const uint8_t* group = x + g * width;
    int32_t best = 0;
    for (int32_t i = 1; i < width; ++i) {
      if (group[i] > group[best]) best = i;
    }
    index_k[g] = static_cast<int32_t>(g * width) + best;
    value_k[g] = group[best];
  }
}

/// Rank of the chunk at x.
HWY_INLINE int32_t Rank(const uint8_t* x, int32_t chunk) {
  int32_t sum = 0;
  for (int32_t c = 0; c < chunk; ++c) sum += x[c];
  return sum;
}

/// Any groups and chunks: units of each group are ranked by selection on counts; clear, not fast.
HWY_INLINE void General(const KwtaU8Args& a) {
  const int32_t width = a.channels / a.groups, units = width / a.chunk, k = a.winners / a.groups;
  const int32_t spans = a.global ? 1 : a.positions, span = a.global ? a.positions : 1;
  const int32_t most = 255 * a.chunk;
  int64_t out = 0;
  for (int32_t first = 0; first < spans; ++first) {
    const uint8_t* x = a.x + int64_t{first} * a.channels;
    // Threshold of a group: bisection over ranks. Kept for the walk below, which is in index order.
    const auto at_least = [&](int32_t g, int32_t bound) {
      int64_t count = 0;
      for (int32_t p = 0; p < span; ++p) {
        for (int32_t u = 0; u < units; ++u) {
          count += Rank(x + int64_t{p} * a.channels + g * width + u * a.chunk, a.chunk) >= bound;
        }
      }
      return count;
    };
    const auto threshold_of = [&](int32_t g) {
      int32_t low = 0, high = most + 1;  // low <= the k-th largest < high
      while (high - low > 1) {
        const int32_t middle = low + (high - low) / 2;
        (at_least(g, middle) >= k ? low : high) = middle;
      }
      return ThresholdU8{low, k - at_least(g, low + 1)};
    };
    // Groups come in turn inside of each position: one pass a group into its own places would need
    // its count before; local scope has one position, so its groups are in order already.
    if (!a.global || a.groups == 1) {
      for (int32_t g = 0; g < a.groups; ++g) {
        ThresholdU8 t = threshold_of(g);
        for (int32_t p = 0; p < span; ++p) {
          for (int32_t u = 0; u < units; ++u) {
            const int64_t at = int64_t{p} * a.channels + g * width + u * a.chunk;
            const int32_t rank = Rank(x + at, a.chunk);
            if (rank < t.value || (rank == t.value && t.ties-- <= 0)) continue;
            for (int32_t c = 0; c < a.chunk; ++c, ++out) {
              a.index_k[out] = static_cast<int32_t>(int64_t{first} * a.channels + at + c);
              a.value_k[out] = x[at + c];
            }
          }
        }
      }
      continue;
    }
    // Global with groups: each group's winners are appended, then all are put into index order.
    for (int32_t g = 0; g < a.groups; ++g) {
      ThresholdU8 t = threshold_of(g);
      for (int32_t p = 0; p < span; ++p) {
        for (int32_t u = 0; u < units; ++u) {
          const int64_t at = int64_t{p} * a.channels + g * width + u * a.chunk;
          const int32_t rank = Rank(x + at, a.chunk);
          if (rank < t.value || (rank == t.value && t.ties-- <= 0)) continue;
          for (int32_t c = 0; c < a.chunk; ++c) a.index_k[out++] = static_cast<int32_t>(at + c);
        }
      }
    }
    std::sort(a.index_k, a.index_k + out);
    for (int64_t i = 0; i < out; ++i) a.value_k[i] = x[a.index_k[i]];
  }
}

void Kwta(const KwtaU8Args& a) {
  const int64_t elements = int64_t{a.positions} * a.channels;
  if (a.chunk == 1 && !a.global && a.winners == a.groups) {
    return OneOfGroups(a.x, int64_t{a.positions} * a.groups, a.channels / a.groups, a.index_k,
                       a.value_k);
  }
  if (a.chunk != 1 || (a.global && a.groups > 1)) return General(a);
  const int64_t width = a.global ? elements : a.channels / a.groups;
  const int64_t k = a.global ? a.winners : a.winners / a.groups;
  int64_t out = 0;
  for (int64_t first = 0; first < elements; first += width) {
    const uint8_t* x = a.x + first;
    out += Emit(x, width, static_cast<int32_t>(first), FindThreshold(x, width, k), a.index_k + out,
                a.value_k + out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Kwta);

void KwtaU8(const KwtaU8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(Kwta)(args); }

void ScatterWinnersU8(const int32_t* index_k, const uint8_t* value_k, int64_t count, uint8_t* dense,
                      int64_t elements) noexcept {
  std::memset(dense, 0, static_cast<size_t>(elements));
  for (int64_t i = 0; i < count; ++i) dense[index_k[i]] = value_k[i];
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
