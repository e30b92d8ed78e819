// SPDX-License-Identifier: Apache-2.0
// Read first: conv_taps_i8.h. On other targets a plain loop computes the same; plans choose matmul_i8
// there (HasConvTapsI8).
#include "deploy/kernels/conv_taps_i8.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "deploy/packed/layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/kernels/conv_taps_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/kernels/dot4-inl.h"

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

#if HWY_TARGET == HWY_AVX3_DL
constexpr int kMostGroups = (7 * 7 + 3) / 4;

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

/// 16 kernels of kGroups groups of taps at a row of pooled positions: the largest of four windows' sums,
/// shifted and packed to bytes 64 apart. Indices and weights stay in registers.
template <int kGroups>
void BlockRow(const ConvTapsI8& s, int32_t b, const uint8_t* columns, uint8_t* tile) {
  const __m512i bias = _mm512_load_si512(s.bias_o.data() + b * 16);
  const __m512i shift = _mm512_load_si512(s.shift_o.data() + b * 16);
  const __m512i down = _mm512_set1_epi8(1), right = _mm512_set1_epi8(8);
  __m512i index[kGroups][4], weight[kGroups];
  HWY_UNROLL(7) for (int g = 0; g < kGroups; ++g) {
    const int64_t at = int64_t{s.begin_b[b] + g} * 64;
    weight[g] = _mm512_load_si512(s.weight.data() + at);
    index[g][0] = _mm512_load_si512(s.index.data() + at);
    index[g][1] = _mm512_add_epi8(index[g][0], right);
    index[g][2] = _mm512_add_epi8(index[g][0], down);
    index[g][3] = _mm512_add_epi8(index[g][1], down);
  }
  for (int32_t px = 0; px < s.pooled.width; ++px) {
    const __m512i window = _mm512_loadu_si512(columns + px * 16);
    __m512i y[4] = {bias, bias, bias, bias};
    HWY_UNROLL(7) for (int g = 0; g < kGroups; ++g) {
      HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
        y[i] = _mm512_dpbusd_epi32(y[i], _mm512_permutexvar_epi8(index[g][i], window), weight[g]);
      }
    }
    const __m512i largest =
        _mm512_max_epi32(_mm512_max_epi32(y[0], y[1]), _mm512_max_epi32(y[2], y[3]));
    const __m512i sum = _mm512_max_epi32(_mm512_srav_epi32(largest, shift), _mm512_setzero_si512());
    _mm_store_si128(reinterpret_cast<__m128i*>(tile + px * 64), _mm512_cvtusepi32_epi8(sum));
  }
}

void AnyBlockRow(const ConvTapsI8& s, int32_t b, const uint8_t* columns, uint8_t* tile) {
  switch (s.begin_b[b + 1] - s.begin_b[b]) {
    case 1:
      return BlockRow<1>(s, b, columns, tile);
    case 2:
      return BlockRow<2>(s, b, columns, tile);
    case 3:
      return BlockRow<3>(s, b, columns, tile);
    case 4:
      return BlockRow<4>(s, b, columns, tile);
    case 5:
      return BlockRow<5>(s, b, columns, tile);
    case 6:
      return BlockRow<6>(s, b, columns, tile);
    case 7:
      return BlockRow<7>(s, b, columns, tile);
    default:
      return BlockRow<kMostGroups>(s, b, columns, tile);
  }
}

void ConvTaps(const ConvTapsI8& s, const uint8_t* padded, uint8_t* columns, uint8_t* y) {
  const int64_t row = s.row_bytes();
  uint8_t* tile = columns + 8 * row + 64;
  for (int32_t py = 0; py < s.pooled.height; ++py) {
    MakeColumns(padded + 2 * py * row, row, columns);
    for (int32_t b = 0; b < s.blocks; b += 4) {
      for (int32_t i = 0; i < 4; ++i) AnyBlockRow(s, b + i, columns, tile + i * 16);
      const __m512i order = _mm512_load_si512(s.order.data() + b * 16);
      const int32_t left = s.pooled.channels - b * 16;
      const __mmask64 exists = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
      uint8_t* to = y + int64_t{py} * s.pooled.width * s.pooled.channels + b * 16;
      for (int32_t px = 0; px < s.pooled.width; ++px, to += s.pooled.channels) {
        const __m512i q = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(tile + px * 64));
        if (left >= 64) {
          _mm512_storeu_si512(to, q);
        } else {
          _mm512_mask_storeu_epi8(to, exists, q);
        }
      }
    }
  }
}
#else
void ConvTaps(const ConvTapsI8& s, const uint8_t* padded, uint8_t*, uint8_t* y) {
  const int64_t row = s.row_bytes();
  uint8_t q[64];
  for (int32_t py = 0; py < s.pooled.height; ++py) {
    for (int32_t px = 0; px < s.pooled.width; ++px, y += s.pooled.channels) {
      for (int32_t b = 0; b < s.blocks; ++b) {
        for (int32_t lane = 0; lane < 16; ++lane) {
          int32_t largest = INT32_MIN;
          for (int32_t place = 0; place < 4; ++place) {
            const uint8_t* x = padded + (2 * py + place / 2) * row + 2 * px + place % 2;
            int32_t sum = s.bias_o.data()[b * 16 + lane];
            for (int32_t i = s.begin_b[b] * 64 + lane * 4; i < s.begin_b[b + 1] * 64; i += 64) {
              for (int32_t j = i; j < i + 4; ++j) {
                const int32_t at = s.index.data()[j];
                sum += s.weight.data()[j] * x[at % 8 * row + at / 8];
              }
            }
            largest = std::max(largest, sum);
          }
          q[b % 4 * 16 + lane] =
              static_cast<uint8_t>(std::clamp(largest >> s.shift_o.data()[b * 16 + lane], 0, 255));
        }
        if (b % 4 < 3) continue;
        for (int32_t o = (b - 3) * 16; o < std::min((b + 1) * 16, s.pooled.channels); ++o) {
          y[o] = q[s.order.data()[o]];
        }
      }
    }
  }
}
#endif

void Run(const ConvTapsI8Args& a) {
  PadMap(a);
  const ConvTapsI8& s = *a.conv;
  ConvTaps(s, a.scratch, a.scratch + (s.padded_h() + 8) * s.row_bytes(), a.output);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Run);

void ConvTapsI8Run(const ConvTapsI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(Run)(args); }

bool HasConvTapsI8() { return (hwy::SupportedTargets() & HWY_TARGETS & HWY_AVX3_DL) != 0; }

std::optional<ConvTapsI8> PrepareConvTapsI8(const packed::Layer& layer, const Shape& pooled,
                                            uint8_t zero, bool dense) {
  const packed::Window& w = layer.window;
  const packed::Layout layout(layer.kernel(), layer.packing);
  if (layer.input.channels != 1 || w.stride_h != 1 || w.stride_w != 1 || w.kernel_h > 7 ||
      w.kernel_w > 7 || layer.shift_o.empty() || pooled.height < 1 || pooled.width < 1) {
    return std::nullopt;
  }
  ConvTapsI8 conv;
  conv.input = layer.input;
  conv.pooled = pooled;
  conv.pad_h = w.pad_h;
  conv.pad_w = w.pad_w;
  conv.zero = zero;
  const int32_t outputs = layout.shape.outputs;
  // taps_o: (byte of the window, weight) of kernel o.
  std::vector<std::vector<std::pair<uint8_t, int8_t>>> taps_o(static_cast<size_t>(outputs));
  for (int32_t o = 0; o < outputs; ++o) {
    const int32_t l = o % layout.packing.lanes,
                  s = o / layout.packing.lanes % layout.packing.set_size,
                  n = o / layout.packing.lanes / layout.packing.set_size;
    for (int64_t p = 0; p < layout.positions; ++p) {
      const bool owned =
          layout.packing.set_size == 1 ||
          layer.owner_nr[static_cast<size_t>(n * layout.runs + layout.RunOf(p))] == s;
      if (!owned && !dense) continue;
      const auto at = static_cast<uint8_t>(p % w.kernel_w * 8 + p / w.kernel_w);
      const int8_t weight =
          owned ? layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))] : int8_t{0};
      taps_o[static_cast<size_t>(o)].push_back({at, weight});
    }
  }
  // In chunks of 64 outputs, so that a chunk's order is undone in one register.
  const int32_t chunks = (outputs + 63) / 64;
  conv.blocks = chunks * 4;
  conv.bias_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.shift_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.order = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  std::vector<uint8_t> index;
  std::vector<int8_t> weight;
  conv.begin_b.push_back(0);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    std::vector<int32_t> sorted(static_cast<size_t>(std::min(64, outputs - chunk * 64)));
    std::iota(sorted.begin(), sorted.end(), chunk * 64);
    std::stable_sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
      return taps_o[static_cast<size_t>(a)].size() > taps_o[static_cast<size_t>(b)].size();
    });
    for (size_t block = 0; block < 4; ++block) {
      const size_t first = block * 16, last = std::min(first + 16, sorted.size());
      size_t most = 0;
      for (size_t i = first; i < last; ++i) {
        most = std::max(most, taps_o[static_cast<size_t>(sorted[i])].size());
      }
      auto groups = static_cast<int32_t>(std::max<size_t>((most + 3) / 4, 1));
      if (groups > 7) groups = (7 * 7 + 3) / 4;  // past 7 there is a loop for this many only
      const size_t begin = index.size();
      index.resize(begin + static_cast<size_t>(groups) * 64);
      weight.resize(index.size());
      for (size_t i = first; i < last; ++i) {
        const size_t lane = i - first, o = static_cast<size_t>(sorted[i]);
        for (size_t t = 0; t < taps_o[o].size(); ++t) {
          const size_t at = begin + t / 4 * 64 + lane * 4 + t % 4;
          index[at] = taps_o[o][t].first;
          weight[at] = taps_o[o][t].second;
        }
        const size_t slot = static_cast<size_t>(chunk) * 64 + i;
        const int32_t shift = layer.shift_o[o];
        conv.shift_o.data()[slot] = shift;
        conv.bias_o.data()[slot] = layer.bias_i32_o[o] + (shift > 0 ? 1 << (shift - 1) : 0);
        conv.order.data()[o] = static_cast<uint8_t>(block * 16 + lane);
      }
      conv.begin_b.push_back(conv.begin_b.back() + groups);
    }
  }
  conv.index = AlignedBuffer<uint8_t>(index.size());
  conv.weight = AlignedBuffer<int8_t>(weight.size());
  std::copy(index.begin(), index.end(), conv.index.data());
  std::copy(weight.begin(), weight.end(), conv.weight.data());
  return conv;
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
