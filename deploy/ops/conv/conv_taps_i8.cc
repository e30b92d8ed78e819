// SPDX-License-Identifier: Apache-2.0
// Read first: conv_taps_i8.h. The forms of AVX-512 with VNNI; conv_taps_pairs_i8.cc has that of AVX2. On other targets a
// plain loop computes the same; plans choose matmul_i8 there (HasConvTapsI8). Past 400 lines: both forms share the
// columns before them and the fold after them.
#include "deploy/ops/conv/conv_taps_i8.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_taps_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

/// The map with padding and eight rows of slack below.
HWY_INLINE void PadMap(const ConvTapsI8Args& a) {
  const ConvTapsI8& s = *a.conv;
  const int64_t row = s.row_bytes();
  std::memset(a.scratch, s.zero, static_cast<size_t>((s.padded_h() + 8) * row));
  for (int32_t y = 0; y < s.input.height; ++y) {
    std::memcpy(a.scratch + (y + s.pad_h) * row + s.pad_w, a.input + int64_t{y} * s.input.width,
                static_cast<size_t>(s.input.width));
  }
}

#if HWY_TARGET != HWY_AVX3_DL
/// One output of a position, straight from the lists.
uint8_t Output(const ConvTapsI8& s, int32_t block, int32_t lane, const uint8_t* window) {
  const int64_t row = s.row_bytes();
  const size_t b = static_cast<size_t>(block);
  int32_t largest = INT32_MIN;
  for (int32_t place = 0; place < s.windows; ++place) {
    int32_t sum = s.bias_o.data()[block * 16 + lane];
    for (int32_t g = s.begin_b[b]; g < s.begin_b[b + 1]; ++g) {
      const bool four = g < s.begin_b[b] + s.fours_b[b];
      for (int32_t i = 0; i < 4; ++i) {
        const int32_t at = g * 64 + lane * 4 + i, byte = s.index.data()[at];
        if (!four && i != place) continue;
        const uint8_t* x = four ? window + place / 2 * row + place % 2 : window;
        sum += s.weight.data()[at] * x[byte % 8 * row + byte / 8];
      }
    }
    largest = std::max(largest, sum);
  }
  return static_cast<uint8_t>(std::clamp(largest >> s.shift_o.data()[block * 16 + lane], 0, 255));
}
#else
constexpr int kMostFours = (7 * 7 + 3) / 4;

/// Rows y … y + 7 as columns of 8 bytes.
HWY_INLINE void MakeColumns(const uint8_t* rows, int64_t row, uint8_t* columns) {
  for (int64_t x = 0; x < row; x += 16) {
    __m128i r[8], t[8];
    HWY_UNROLL(8) for (int i = 0; i < 8; ++i) {
      r[i] = _mm_load_si128(reinterpret_cast<const __m128i*>(rows + i * row + x));
    }
    HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
      t[i] = _mm_unpacklo_epi8(r[2 * i], r[2 * i + 1]);
      t[4 + i] = _mm_unpackhi_epi8(r[2 * i], r[2 * i + 1]);
    }
    HWY_UNROLL(2) for (int h = 0; h < 2; ++h) {  // columns x … x + 7, then the next eight
      const __m128i a0 = _mm_unpacklo_epi16(t[4 * h], t[4 * h + 1]);
      const __m128i a1 = _mm_unpackhi_epi16(t[4 * h], t[4 * h + 1]);
      const __m128i b0 = _mm_unpacklo_epi16(t[4 * h + 2], t[4 * h + 3]);
      const __m128i b1 = _mm_unpackhi_epi16(t[4 * h + 2], t[4 * h + 3]);
      __m128i* to = reinterpret_cast<__m128i*>(columns + (x + 8 * h) * 8);
      _mm_store_si128(to, _mm_unpacklo_epi32(a0, b0));
      _mm_store_si128(to + 1, _mm_unpackhi_epi32(a0, b0));
      _mm_store_si128(to + 2, _mm_unpacklo_epi32(a1, b1));
      _mm_store_si128(to + 3, _mm_unpackhi_epi32(a1, b1));
    }
  }
}

/// Sums of four blocks as bytes: lane 4q + i of block b is byte 16q + 4b + i.
HWY_INLINE __m512i PackSums(__m512i b0, __m512i b1, __m512i b2, __m512i b3) {
  return _mm512_packus_epi16(_mm512_packs_epi32(b0, b1), _mm512_packs_epi32(b2, b3));
}

/// A row of positions' sums of four blocks, in place.
HWY_INLINE void PackRow(int32_t* tile, int64_t width) {
  for (int64_t px = 0; px < width; ++px) {
    const int32_t* from = tile + px * 64;
    _mm512_store_si512(tile + px * 16,
                       PackSums(_mm512_load_si512(from), _mm512_load_si512(from + 16),
                                _mm512_load_si512(from + 32), _mm512_load_si512(from + 48)));
  }
}

template <int kWindows>
HWY_INLINE __m512i Largest(const __m512i* y) {
  if constexpr (kWindows == 1) return y[0];
  return _mm512_max_epi32(_mm512_max_epi32(y[0], y[1]), _mm512_max_epi32(y[2], y[3]));
}

/// 16 kernels at a row of positions: the largest of the windows' sums, shifted, to tile[64 px …]. Indices and
/// weights stay in registers.
template <int kWindows, int kFours, bool kSingle>
void BlockRow(const ConvTapsI8& s, size_t block, const uint8_t* columns, int32_t* tile) {
  const __m512i bias = _mm512_load_si512(s.bias_o.data() + block * 16);
  const __m512i shift = _mm512_load_si512(s.shift_o.data() + block * 16);
  const __m512i down = _mm512_set1_epi8(1), right = _mm512_set1_epi8(8);
  const uint8_t* indices = s.index.data() + int64_t{s.begin_b[block]} * 64;
  const int8_t* weights = s.weight.data() + int64_t{s.begin_b[block]} * 64;
  __m512i index[kFours + 1][4], weight[kFours + 1], one[4];
  HWY_UNROLL(7) for (int g = 0; g < kFours; ++g) {
    weight[g] = _mm512_load_si512(weights + g * 64);
    index[g][0] = _mm512_load_si512(indices + g * 64);
    if constexpr (kWindows == 4) {
      index[g][1] = _mm512_add_epi8(index[g][0], right);
      index[g][2] = _mm512_add_epi8(index[g][0], down);
      index[g][3] = _mm512_add_epi8(index[g][1], down);
    }
  }
  if (kSingle) {
    index[kFours][0] = _mm512_load_si512(indices + kFours * 64);
    const __m512i w = _mm512_load_si512(weights + kFours * 64);
    HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
      one[i] = _mm512_and_si512(w, _mm512_set1_epi32(255 << 8 * i));
    }
  }
  const int64_t width = s.output.width, step = 8 * s.step;
  for (int64_t px = 0; px < width; ++px) {
    const __m512i window = _mm512_loadu_si512(columns + px * step);
    __m512i y[4] = {bias, bias, bias, bias};
    if (kSingle) {
      const __m512i x = _mm512_permutexvar_epi8(index[kFours][0], window);
      HWY_UNROLL(4) for (int i = 0; i < 4; ++i) y[i] = _mm512_dpbusd_epi32(y[i], x, one[i]);
    }
    HWY_UNROLL(7) for (int g = 0; g < kFours; ++g) {
      HWY_UNROLL(4) for (int i = 0; i < kWindows; ++i) {
        y[i] = _mm512_dpbusd_epi32(y[i], _mm512_permutexvar_epi8(index[g][i], window), weight[g]);
      }
    }
    _mm512_store_si512(tile + px * 64, _mm512_srav_epi32(Largest<kWindows>(y), shift));
  }
}

/// run(n) with n as a constant: fours, or the one past 7 that lists are padded to.
template <class Run>
HWY_INLINE void WithFours(int32_t fours, const Run& run) {
  switch (fours) {
    case 0:
      return run(std::integral_constant<int, 0>());
    case 1:
      return run(std::integral_constant<int, 1>());
    case 2:
      return run(std::integral_constant<int, 2>());
    case 3:
      return run(std::integral_constant<int, 3>());
    case 4:
      return run(std::integral_constant<int, 4>());
    case 5:
      return run(std::integral_constant<int, 5>());
    case 6:
      return run(std::integral_constant<int, 6>());
    case 7:
      return run(std::integral_constant<int, 7>());
    default:
      return run(std::integral_constant<int, kMostFours>());
  }
}

template <int kWindows>
void AnyBlockRow(const ConvTapsI8& s, size_t block, const uint8_t* columns, int32_t* tile) {
  const int32_t fours = s.fours_b[block];
  const bool single = s.begin_b[block + 1] - s.begin_b[block] > fours;
  WithFours(fours, [&](auto n) {
    if constexpr (kWindows == 4) {
      if (single) return BlockRow<4, n, true>(s, block, columns, tile);
    }
    return BlockRow<kWindows, n, false>(s, block, columns, tile);
  });
}

// Stores of bytes may alias any field: the loops below read sizes and pointers from copies.

/// A row of positions' fours of taps for the shared form.
HWY_INLINE void SpreadRow(const ConvTapsI8& s, const uint8_t* columns, uint8_t* spread) {
  const int64_t width = s.output.width, step = s.spreads() * 64, from = 8 * s.step;
  for (int64_t v = 0; v < step; v += 64) {
    const __m512i index = _mm512_load_si512(s.spread.data() + v);
    for (int64_t px = 0; px < width; ++px) {
      _mm512_store_si512(spread + px * step + v,
                         _mm512_permutexvar_epi8(index, _mm512_loadu_si512(columns + px * from)));
    }
  }
}

/// The windows' sums of a block's kernels at the position whose fours are at `spread`; the largest, shifted.
template <int kWindows, int kFours>
HWY_INLINE __m512i SharedBlock(const __m512i* weight, const int64_t* from, const uint8_t* spread,
                               __m512i bias, __m512i shift) {
  __m512i y[4] = {bias, bias, bias, bias};
  HWY_UNROLL(13) for (int g = 0; g < kFours; ++g) {
    HWY_UNROLL(4) for (int i = 0; i < kWindows; ++i) {
      int32_t four;
      std::memcpy(&four, spread + from[g] + 4 * i, sizeof four);
      y[i] = _mm512_dpbusd_epi32(y[i], _mm512_set1_epi32(four), weight[g]);
    }
  }
  return _mm512_srav_epi32(Largest<kWindows>(y), shift);
}

/// Blocks b … b + 3, of kFours each (few: their weights stay in registers), as packed bytes.
template <int kWindows, int kFours>
void SharedChunkRow(const ConvTapsI8& s, size_t b, const uint8_t* spread, uint8_t* packed) {
  __m512i weight[4][kFours], bias[4];
  int64_t from[4][kFours];
  HWY_UNROLL(4) for (size_t i = 0; i < 4; ++i) {
    bias[i] = _mm512_load_si512(s.bias_o.data() + (b + i) * 16);
    HWY_UNROLL(4) for (int g = 0; g < kFours; ++g) {
      const int64_t at = int64_t{s.begin_b[b + i]} + g;
      weight[i][g] = _mm512_load_si512(s.weight.data() + at * 64);
      from[i][g] = int64_t{s.four_g[static_cast<size_t>(at)]} * 4 * kWindows;
    }
  }
  const int32_t* shift = s.shift_o.data() + b * 16;
  const int64_t width = s.output.width, step = s.spreads() * 64;
  for (int64_t px = 0; px < width; ++px, spread += step, packed += 64) {
    __m512i sum[4];
    HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
      sum[i] = SharedBlock<kWindows, kFours>(weight[i], from[i], spread, bias[i],
                                             _mm512_load_si512(shift + 16 * i));
    }
    _mm512_store_si512(packed, PackSums(sum[0], sum[1], sum[2], sum[3]));
  }
}

/// True if it did blocks b … b + 3.
template <int kWindows>
HWY_INLINE bool RunSharedChunk(const ConvTapsI8& s, size_t b, const uint8_t* spread,
                               uint8_t* packed) {
  const int32_t fours = s.fours_b[b];
  for (size_t i = 1; i < 4; ++i) {
    if (s.fours_b[b + i] != fours) return false;
  }
  switch (fours) {
    case 1:
      SharedChunkRow<kWindows, 1>(s, b, spread, packed);
      return true;
    case 2:
      SharedChunkRow<kWindows, 2>(s, b, spread, packed);
      return true;
    case 3:
      SharedChunkRow<kWindows, 3>(s, b, spread, packed);
      return true;
    case 4:
      SharedChunkRow<kWindows, 4>(s, b, spread, packed);
      return true;
    default:
      return false;
  }
}

/// BlockRow of the shared form.
template <int kWindows, int kFours>
void SharedBlockRow(const ConvTapsI8& s, size_t block, const uint8_t* spread, int32_t* tile) {
  const __m512i bias = _mm512_load_si512(s.bias_o.data() + block * 16);
  const __m512i shift = _mm512_load_si512(s.shift_o.data() + block * 16);
  __m512i weight[kFours];
  int64_t from[kFours];
  HWY_UNROLL(13) for (int g = 0; g < kFours; ++g) {
    const int64_t at = int64_t{s.begin_b[block]} + g;
    weight[g] = _mm512_load_si512(s.weight.data() + at * 64);
    from[g] = int64_t{s.four_g[static_cast<size_t>(at)]} * 4 * kWindows;
  }
  const int64_t width = s.output.width, step = s.spreads() * 64;
  for (int64_t px = 0; px < width; ++px, spread += step, tile += 64) {
    _mm512_store_si512(tile, SharedBlock<kWindows, kFours>(weight, from, spread, bias, shift));
  }
}

template <int kWindows>
void AnySharedBlockRow(const ConvTapsI8& s, size_t block, const uint8_t* spread, int32_t* tile) {
  WithFours(s.fours_b[block], [&](auto n) {
    return SharedBlockRow<kWindows, std::max<int>(n, 1)>(s, block, spread, tile);
  });
}

/// Keys value << 8 | 255 - channel of the winners of eight groups, in order. Bytes 0, 1 of the fours of 128 bits are one
/// group, bytes 2, 3 the next.
HWY_INLINE __m128i Winners(__m512i q, __m512i complement) {
  __m512i key =
      _mm512_max_epu16(_mm512_unpacklo_epi8(complement, q), _mm512_unpackhi_epi8(complement, q));
  key = _mm512_max_epu16(key, _mm512_shuffle_epi32(key, _MM_PERM_BADC));
  key = _mm512_max_epu16(key, _mm512_srli_epi32(key, 16));
  const __m512i ends = _mm512_castsi128_si512(_mm_setr_epi16(0, 2, 8, 10, 16, 18, 24, 26));
  return _mm512_castsi512_si128(_mm512_permutexvar_epi16(ends, key));
}

/// A row of winners of the chunk of blocks b … b + 3 from position `first` on, one in kGroup channels; tile: 64 bytes a
/// position.
template <int kGroup>
HWY_INLINE void StoreWinners(const ConvTapsI8Args& a, const int32_t* tile, int32_t b,
                             int64_t first) {
  const ConvTapsI8& s = *a.conv;
  const __m512i fold = _mm512_load_si512(s.fold.data() + b * 16);
  const __m512i complement = _mm512_load_si512(s.complement.data() + b * 16);
  const __m128i step = _mm_set1_epi16(static_cast<int16_t>(a.line_step));
  const int64_t width = s.output.width, channels = s.output.channels;
  constexpr size_t kWinners = 64 / kGroup;
  const int64_t out = first * (channels / kGroup) + b * 16 / kGroup;
  uint8_t* value = a.value_k + out;
  uint16_t* line = a.line_k == nullptr ? nullptr : a.line_k + out;
  int32_t* index = a.line_k == nullptr ? a.index_k + out : nullptr;
  for (int64_t px = 0; px < width; ++px) {
    const __m512i q = _mm512_permutexvar_epi8(fold, _mm512_load_si512(tile + px * 16));
    __m128i key = Winners(q, complement);
    const int64_t at = px * (channels / kGroup);
    if constexpr (kGroup == 16) {  // the larger one of neighbours: four words
      const __m128i even = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
      key = _mm_shuffle_epi8(_mm_max_epu16(key, _mm_srli_epi32(key, 16)), even);
    }
    const __m128i channel = _mm_andnot_si128(key, _mm_set1_epi16(255));
    const __m128i bytes = _mm_packus_epi16(_mm_srli_epi16(key, 8), key);
    std::memcpy(value + at, &bytes, kWinners);
    if (line != nullptr) {
      const __m128i words = _mm_mullo_epi16(channel, step);
      std::memcpy(line + at, &words, 2 * kWinners);
    } else {
      const auto begin = _mm256_set1_epi32(static_cast<int32_t>((first + px) * channels));
      const __m256i places = _mm256_add_epi32(_mm256_cvtepu16_epi32(channel), begin);
      std::memcpy(index + at, &places, 4 * kWinners);
    }
  }
}

/// The same of the map.
HWY_INLINE void StoreMap(const ConvTapsI8Args& a, const int32_t* tile, int32_t b, int64_t first) {
  const int64_t width = a.conv->output.width, channels = a.conv->output.channels;
  const int64_t left = channels - b * 16;
  const __mmask64 exists = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
  const __m512i order = _mm512_load_si512(a.conv->order.data() + b * 16);
  uint8_t* to = a.output + first * channels + b * 16;
  for (int64_t px = 0; px < width; ++px) {
    _mm512_mask_storeu_epi8(to + px * channels, exists,
                            _mm512_permutexvar_epi8(order, _mm512_load_si512(tile + px * 16)));
  }
}

template <int kWindows>
void ConvTapsOf(const ConvTapsI8Args& a, const uint8_t* padded, uint8_t* columns) {
  const ConvTapsI8& s = *a.conv;
  const int64_t row = s.row_bytes();
  auto* tile = reinterpret_cast<int32_t*>(columns + 8 * row + 64);
  uint8_t* spread = columns + 8 * row + 64 + int64_t{s.output.width} * 256;
  int64_t position = 0;
  for (int32_t py = 0; py < s.output.height; ++py, position += s.output.width) {
    MakeColumns(padded + int64_t{s.step} * py * row, row, columns);
    if (s.shared) SpreadRow(s, columns, spread);
    for (int32_t b = 0; b < s.blocks; b += 4) {
      const auto first = static_cast<size_t>(b);
      if (!s.shared ||
          !RunSharedChunk<kWindows>(s, first, spread, reinterpret_cast<uint8_t*>(tile))) {
        for (size_t i = 0; i < 4; ++i) {
          if (s.shared && s.fours_b[first + i] > 0) {
            AnySharedBlockRow<kWindows>(s, first + i, spread, tile + i * 16);
          } else {
            AnyBlockRow<kWindows>(s, first + i, columns, tile + i * 16);
          }
        }
        PackRow(tile, s.output.width);
      }
      if (a.value_k != nullptr) {
        s.group == 8 ? StoreWinners<8>(a, tile, b, position)
                     : StoreWinners<16>(a, tile, b, position);
      } else {
        StoreMap(a, tile, b, position);
      }
    }
  }
}

void ConvTaps(const ConvTapsI8Args& a, const uint8_t* padded, uint8_t* columns) {
  a.conv->windows == 4 ? ConvTapsOf<4>(a, padded, columns) : ConvTapsOf<1>(a, padded, columns);
}
#endif

#if HWY_TARGET != HWY_AVX3_DL
void ConvTaps(const ConvTapsI8Args& a, const uint8_t* padded, uint8_t*) {
  const ConvTapsI8& s = *a.conv;
  const int64_t row = s.row_bytes();
  int64_t position = 0, out = 0;
  for (int32_t py = 0; py < s.output.height; ++py) {
    for (int32_t px = 0; px < s.output.width; ++px, ++position) {
      for (int32_t b = 0; b < s.blocks; b += 4) {
        uint8_t q[64];
        for (int32_t i = 0; i < 64; ++i) {
          q[i] = Output(s, b + i / 4 % 4, i / 16 * 4 + i % 4, padded + s.step * (py * row + px));
        }
        const uint8_t* order = s.order.data() + b * 16;
        if (a.value_k == nullptr) {
          uint8_t* y = a.output + position * s.output.channels + b * 16;
          for (int32_t o = 0; o < std::min(64, s.output.channels - b * 16); ++o) y[o] = q[order[o]];
          continue;
        }
        for (int32_t first = 0; first < 64; first += s.group, ++out) {
          int32_t key = 0;
          for (int32_t c = first; c < first + s.group; ++c) {
            const int32_t g = c / 8, i = c % 8;
            const int32_t at = g / 2 * 16 + i / 2 * 4 + g % 2 * 2 + i % 2;
            key = std::max(key,
                           q[s.fold.data()[b * 16 + at]] << 8 | s.complement.data()[b * 16 + at]);
          }
          const int32_t channel = 255 - key % 256;
          a.value_k[out] = static_cast<uint8_t>(key >> 8);
          if (a.line_k != nullptr) {
            a.line_k[out] = static_cast<uint16_t>(channel * a.line_step);
          } else {
            a.index_k[out] = static_cast<int32_t>(position * s.output.channels) + channel;
          }
        }
      }
    }
  }
}
#endif

void Run(const ConvTapsI8Args& a) {
  PadMap(a);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  if (a.conv->has_pairs()) return ConvTapsPairsI8Run(a);
#endif
  const ConvTapsI8& s = *a.conv;
  ConvTaps(a, a.scratch, a.scratch + s.columns_at());
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Run);

void ConvTapsI8Run(const ConvTapsI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(Run)(args); }

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
