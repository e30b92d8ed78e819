// SPDX-License-Identifier: Apache-2.0
// The pairs form of conv_taps_i8, for AVX2 and AVX-512 without VNNI. Read first: conv_taps_i8.h.
//
//   y[k] += x[a]·w[k, a] + x[b]·w[k, b]     16-bit numbers, 32-bit sums: exact
//
// x[a], x[b] of every pair, window and position of a row are made once (SpreadPairs): taps of
// neighbouring positions, which are two columns apart, are neighbours among the even or the odd columns.
#include <cstring>

#include "deploy/ops/conv/conv_taps_i8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_taps_pairs_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
/// Even and odd columns of every padded row as words: word[(row·2 + parity)·half + x/2].
HWY_INLINE void WidenRows(const ConvTapsI8& s, const uint8_t* padded, uint16_t* word) {
  const int64_t row = s.row_bytes(), half = s.half_row();
  const __m128i low = _mm_set1_epi16(255);
  for (int64_t y = 0; y < s.padded_h() + 8; ++y) {
    for (int64_t x = 0; x < row; x += 16) {
      const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(padded + y * row + x));
      uint16_t* to = word + y * 2 * half + x / 2;
      _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_and_si128(v, low));
      _mm_store_si128(reinterpret_cast<__m128i*>(to + half), _mm_srli_epi16(v, 8));
    }
  }
}

/// spread[(pair·windows + window)·width + px]: both taps of a pair, for the row of positions py.
HWY_INLINE void SpreadPairs(const ConvTapsI8& s, const uint16_t* word, int64_t py,
                            uint32_t* spread) {
  const int64_t width = s.padded_width(), lists = static_cast<int64_t>(s.pairs.size()) * s.windows;
  const uint16_t* const row = word + 4 * py * s.half_row();
  const std::array<int32_t, 2>* from = s.pair_from.data();
  for (int64_t i = 0; i < lists; ++i, spread += width) {
    const uint16_t *a = row + from[i][0], *b = row + from[i][1];
    for (int64_t px = 0; px < width; px += 16) {
      const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + px));
      const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + px));
      const __m256i low = _mm256_unpacklo_epi16(x, y), high = _mm256_unpackhi_epi16(x, y);
      __m256i* to = reinterpret_cast<__m256i*>(spread + px);
      _mm256_storeu_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
      _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
    }
  }
}

/// Sums of a block's kernels 0-3, 8-11 and 4-7, 12-15 over the windows, without the bias.
struct Sums {
  __m256i low[4], high[4];
};

template <int kWindows, bool kFirst>
HWY_INLINE void AddPair(Sums& sums, const uint32_t* x, int64_t step, const __m256i* weight) {
  const __m256i w0 = _mm256_load_si256(weight), w1 = _mm256_load_si256(weight + 1);
  HWY_UNROLL(4) for (int i = 0; i < kWindows; ++i) {
    const __m256i both = _mm256_set1_epi32(static_cast<int>(x[i * step]));
    const __m256i low = _mm256_madd_epi16(both, w0), high = _mm256_madd_epi16(both, w1);
    sums.low[i] = kFirst ? low : _mm256_add_epi32(sums.low[i], low);
    sums.high[i] = kFirst ? high : _mm256_add_epi32(sums.high[i], high);
    // g++ would make all products first and keep them on the stack.
    asm("" : "+x"(sums.low[i]), "+x"(sums.high[i]));
  }
}

template <int kWindows>
HWY_INLINE __m256i Largest(const __m256i* y) {
  if constexpr (kWindows == 1) return y[0];
  return _mm256_max_epi32(_mm256_max_epi32(y[0], y[1]), _mm256_max_epi32(y[2], y[3]));
}

/// A row of a block's 16 outputs as words, in order, to tile[64·px …]. kPairs: how many; 0: any number.
template <int kWindows, int kPairs>
HWY_NOINLINE void BlockRow(const ConvTapsI8& s, size_t block, const uint32_t* spread,
                           uint16_t* tile) {
  const __m256i* bias = reinterpret_cast<const __m256i*>(s.pair_bias.data() + block * 16);
  const __m256i* shift = reinterpret_cast<const __m256i*>(s.pair_shift.data() + block * 16);
  const __m256i bias0 = _mm256_load_si256(bias), bias1 = _mm256_load_si256(bias + 1);
  const __m256i shift0 = _mm256_load_si256(shift), shift1 = _mm256_load_si256(shift + 1);
  const int64_t step = s.padded_width(), first = s.pair_begin_b[block],
                count = s.pair_begin_b[block + 1] - first, width = s.output.width;
  const int32_t* pair = s.pair_g.data() + first;
  const __m256i* weight = reinterpret_cast<const __m256i*>(s.pair_weight.data() + first * 32);
  const uint32_t* from[kPairs + 1];
  for (int g = 0; g < kPairs; ++g) from[g] = spread + pair[g] * kWindows * step;
  for (int64_t px = 0; px < width; ++px, tile += 64) {
    Sums sums{};
    if constexpr (kPairs > 0) {
      AddPair<kWindows, true>(sums, from[0] + px, step, weight);
      HWY_UNROLL(4) for (int g = 1; g < kPairs; ++g) {
        AddPair<kWindows, false>(sums, from[g] + px, step, weight + 2 * g);
      }
    } else {
      for (int64_t g = 0; g < count; ++g) {
        AddPair<kWindows, false>(sums, spread + pair[g] * kWindows * step + px, step,
                                 weight + 2 * g);
      }
    }
    const __m256i low = _mm256_add_epi32(Largest<kWindows>(sums.low), bias0),
                  high = _mm256_add_epi32(Largest<kWindows>(sums.high), bias1);
    const __m256i q =
        _mm256_packs_epi32(_mm256_srav_epi32(low, shift0), _mm256_srav_epi32(high, shift1));
    _mm256_store_si256(
        reinterpret_cast<__m256i*>(tile),
        _mm256_min_epi16(_mm256_max_epi16(q, _mm256_setzero_si256()), _mm256_set1_epi16(255)));
  }
}

template <int kWindows>
HWY_INLINE void AnyBlockRow(const ConvTapsI8& s, size_t block, const uint32_t* spread,
                            uint16_t* tile) {
  switch (s.pair_begin_b[block + 1] - s.pair_begin_b[block]) {
    case 3:
      return BlockRow<kWindows, 3>(s, block, spread, tile);
    case 4:
      return BlockRow<kWindows, 4>(s, block, spread, tile);
    default:
      return BlockRow<kWindows, 0>(s, block, spread, tile);
  }
}

/// Words 0 and 1 of each of eight registers: the smallest word, and where it is, of a group.
struct Smallest {
  __m128i word, place;  ///< eight words each
};
HWY_INLINE Smallest SmallestOfGroups(const __m256i* inverse) {
  __m128i r[8];
  HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
    r[2 * i] = _mm_minpos_epu16(_mm256_castsi256_si128(inverse[i]));
    r[2 * i + 1] = _mm_minpos_epu16(_mm256_extracti128_si256(inverse[i], 1));
  }
  const auto four = [](const __m128i* v) HWY_ATTR {
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(v[0], v[1]), _mm_unpacklo_epi32(v[2], v[3]));
  };
  const __m128i a = four(r), b = four(r + 4), low = _mm_set1_epi32(0xFFFF);
  return {_mm_packus_epi32(_mm_and_si128(a, low), _mm_and_si128(b, low)),
          _mm_packus_epi32(_mm_srli_epi32(a, 16), _mm_srli_epi32(b, 16))};
}

/// The winners of blocks b … b + 3 at a position, one in kGroup channels. The smallest of 255 - value is the largest value,
/// and the first place of it.
template <int kGroup>
HWY_INLINE void StoreWinners(const ConvTapsI8Args& a, const __m256i* q, int32_t b,
                             int64_t position) {
  const __m256i all = _mm256_set1_epi16(255);
  __m256i inverse[4];
  HWY_UNROLL(4) for (int i = 0; i < 4; ++i) inverse[i] = _mm256_sub_epi16(all, q[i]);
  const Smallest winner = SmallestOfGroups(inverse);
  __m128i value = _mm_sub_epi16(_mm_set1_epi16(255), winner.word);
  const __m128i group = _mm_setr_epi16(0, 8, 16, 24, 32, 40, 48, 56);
  __m128i channel = _mm_add_epi16(_mm_add_epi16(winner.place, group),
                                  _mm_set1_epi16(static_cast<int16_t>(b * 16)));
  if constexpr (kGroup == 16) {  // the smaller one of neighbours by (255 - value) << 8 | channel
    __m128i key = _mm_or_si128(_mm_slli_epi16(winner.word, 8), channel);
    const __m128i even = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
    key = _mm_shuffle_epi8(_mm_min_epu16(key, _mm_srli_epi32(key, 16)), even);
    channel = _mm_and_si128(key, _mm_set1_epi16(255));
    value = _mm_sub_epi16(_mm_set1_epi16(255), _mm_srli_epi16(key, 8));
  }
  constexpr size_t kWinners = 64 / kGroup;
  const int64_t channels = a.conv->output.channels;
  const int64_t at = position * (channels / kGroup) + b * 16 / kGroup;
  const __m128i bytes = _mm_packus_epi16(value, value);
  std::memcpy(a.value_k + at, &bytes, kWinners);
  if (a.line_k != nullptr) {
    const __m128i step = _mm_set1_epi16(static_cast<int16_t>(a.line_step));
    const __m128i line = _mm_mullo_epi16(channel, step);
    std::memcpy(a.line_k + at, &line, 2 * kWinners);
  } else {
    const __m256i begin = _mm256_set1_epi32(static_cast<int>(position * channels));
    const __m256i index = _mm256_add_epi32(_mm256_cvtepu16_epi32(channel), begin);
    std::memcpy(a.index_k + at, &index, 4 * kWinners);
  }
}

/// The same of the map.
HWY_INLINE void StoreMap(const ConvTapsI8Args& a, const __m256i* q, int32_t b, int64_t position) {
  const int64_t channels = a.conv->output.channels, left = channels - b * 16;
  alignas(32) uint8_t bytes[64];
  uint8_t* const y = a.output + position * channels + b * 16;
  uint8_t* const to = left >= 64 ? y : bytes;
  HWY_UNROLL(2) for (int i = 0; i < 2; ++i) {
    const __m256i packed = _mm256_packus_epi16(q[2 * i], q[2 * i + 1]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 * i),
                        _mm256_permute4x64_epi64(packed, 0xD8));
  }
  if (left < 64) std::memcpy(y, bytes, static_cast<size_t>(left));
}

void RunPairs(const ConvTapsI8Args& a) {
  const ConvTapsI8& s = *a.conv;
  auto* tile = reinterpret_cast<uint16_t*>(a.scratch + s.columns_at());
  uint16_t* word = tile + int64_t{s.output.width} * 64;
  auto* spread = reinterpret_cast<uint32_t*>(word + (s.padded_h() + 8) * 2 * s.half_row());
  WidenRows(s, a.scratch, word);
  int64_t position = 0;
  for (int64_t py = 0; py < s.output.height; ++py, position += s.output.width) {
    SpreadPairs(s, word, py, spread);
    for (int32_t b = 0; b < s.blocks; b += 4) {
      for (int32_t i = 0; i < 4; ++i) {
        const auto block = static_cast<size_t>(b + i);
        s.windows == 4 ? AnyBlockRow<4>(s, block, spread, tile + i * 16)
                       : AnyBlockRow<1>(s, block, spread, tile + i * 16);
      }
      for (int64_t px = 0; px < s.output.width; ++px) {
        const auto* q = reinterpret_cast<const __m256i*>(tile + px * 64);
        if (a.value_k != nullptr) {
          s.group == 8 ? StoreWinners<8>(a, q, b, position + px)
                       : StoreWinners<16>(a, q, b, position + px);
        } else {
          StoreMap(a, q, b, position + px);
        }
      }
    }
  }
}
#else
void RunPairs(const ConvTapsI8Args&) {}  // never called: ConvTapsI8Run has other forms here
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(RunPairs);

void ConvTapsPairsI8Run(const ConvTapsI8Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(RunPairs)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
