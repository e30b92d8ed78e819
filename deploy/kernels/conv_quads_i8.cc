// SPDX-License-Identifier: Apache-2.0
// Read first: conv_quads_i8.h.
#include "deploy/kernels/conv_quads_i8.h"

#include <algorithm>
#include <cstring>

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

/// Of each padded position and quad: four offsets of a winner's weights, four values (zero around the map).
struct QuadMap {
  const int32_t* offset;
  const uint8_t* value;
};

HWY_INLINE QuadMap MakeQuadMap(const ConvQuadsI8Args& a) {
  const ConvQuadsI8& s = *a.conv;
  const int32_t c = s.input.channels, slots = s.slots, padded_slots = s.quads * 4;
  const int64_t positions = int64_t{s.padded_h()} * s.padded_w();
  int32_t* offset = reinterpret_cast<int32_t*>(a.scratch);
  uint8_t* value = a.scratch + positions * padded_slots * 4;
  const auto bytes = static_cast<int32_t>(s.channel_bytes);
  const bool whole = s.window.pad_h == 0 && s.window.pad_w == 0 && slots == padded_slots;
  if (whole && a.index_k != nullptr && (c & (c - 1)) == 0) {
    // The values can stay where they are; channels are the low bits of the indices.
    const hn::CappedTag<int32_t, 16> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = positions * slots;
    const auto mask = hn::Set(d, c - 1), scale = hn::Set(d, bytes);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(hn::Mul(hn::And(hn::LoadU(d, a.index_k + i), mask), scale), d, offset + i);
    }
    for (; i < count; ++i) offset[i] = (a.index_k[i] & (c - 1)) * bytes;
    return {offset, a.value_k};
  }
  for (int32_t y = 0; y < s.padded_h(); ++y) {
    for (int32_t x = 0; x < s.padded_w(); ++x, offset += padded_slots, value += padded_slots) {
      const int32_t in_y = y - s.window.pad_h, in_x = x - s.window.pad_w;
      if (in_y < 0 || in_y >= s.input.height || in_x < 0 || in_x >= s.input.width) {
        std::fill_n(offset, padded_slots, 0);
        std::fill_n(value, padded_slots, uint8_t{0});
        continue;
      }
      const int32_t position = in_y * s.input.width + in_x;
      const uint8_t* from = a.value_k + int64_t{position} * slots;
      int32_t j = 0;
      if (a.index_k == nullptr) {
        for (; j < slots; ++j) offset[j] = j * bytes;
      } else {
        const hn::CappedTag<int32_t, 4> d;
        const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
        const int32_t* index = a.index_k + int64_t{position} * slots;
        const auto first = hn::Set(d, position * c), scale = hn::Set(d, bytes);
        for (; j + lanes <= slots; j += lanes) {
          hn::StoreU(hn::Mul(hn::Sub(hn::LoadU(d, index + j), first), scale), d, offset + j);
        }
        for (; j < slots; ++j) offset[j] = (index[j] - position * c) * bytes;
      }
      std::memcpy(value, from, static_cast<size_t>(slots));
      for (j = slots; j < padded_slots; ++j) {
        offset[j] = 0;
        value[j] = 0;
      }
    }
  }
  return {reinterpret_cast<const int32_t*>(a.scratch), a.scratch + positions * padded_slots * 4};
}

#if HWY_TARGET == HWY_SCALAR
void ConvQuads(const ConvQuadsI8Args& a) {
  const QuadMap map = MakeQuadMap(a);
  const ConvQuadsI8& s = *a.conv;
  const uint8_t* value = map.value;
  uint8_t* y = a.output;
  for (int32_t oy = 0; oy < s.output.height; ++oy) {
    for (int32_t ox = 0; ox < s.output.width; ++ox) {
      for (int32_t o = 0; o < s.output.channels; ++o) {
        const int32_t b = o / 16, l = o % 16;
        int32_t sum = s.bias_o.data()[o];
        for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
          for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
            const int64_t at = 4 * ((int64_t{oy} * s.padded_w() + ox + kx) * s.quads + s.quad_e[e]);
            for (int j = 0; j < 4; ++j) {
              const int8_t* line =
                  s.weight.data() + s.weight_e[e] + map.offset[at + j] + kx / 4 * s.line_bytes;
              sum += line[l / 4 * 16 + kx % 4 * 4 + l % 4] * value[at + j];
            }
          }
        }
        *y++ = static_cast<uint8_t>(std::clamp(sum >> s.shift_o.data()[o], 0, 255));
      }
    }
  }
}
#else
/// Taps first … first + 3 of four winners, as far as [low, high] reaches.
template <int kFirst, int kLow, int kHigh, int kT, int kI>
HWY_INLINE void AddTaps(const int8_t* const* line, VU8 value, VI32* acc) {
  const DI8 d8;
  const DU16 d16;
  constexpr int low = kLow > kFirst ? kLow - kFirst : 0;
  constexpr int high = kHigh - kFirst < 3 ? kHigh - kFirst : 3;
  if constexpr (low <= high) {
    const VI8 x0 = hn::LoadU(d8, line[0]), x1 = hn::LoadU(d8, line[1]);
    const VI8 x2 = hn::LoadU(d8, line[2]), x3 = hn::LoadU(d8, line[3]);
    const auto add = [&](auto words, int tap) HWY_ATTR {
      VI32& sum = acc[kI - kFirst - tap];
      sum = Dot4(sum, value, hn::BitCast(d8, words));
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

#if HWY_TARGET == HWY_AVX3_DL
/// Byte 4·o + j of four tails = tail j, output o.
alignas(64) constexpr uint8_t kTailOrder[64] = {
    0,  16, 32, 48, 1,  17, 33, 49, 2,  18, 34, 50, 3,  19, 35, 51, 4,  20, 36, 52, 5,  21,
    37, 53, 6,  22, 38, 54, 7,  23, 39, 55, 8,  24, 40, 56, 9,  25, 41, 57, 10, 26, 42, 58,
    11, 27, 43, 59, 12, 28, 44, 60, 13, 29, 45, 61, 14, 30, 46, 62, 15, 31, 47, 63};
#endif

/// Input column kI of a tile of kT output columns: taps kx with 0 <= kI - kx < kT.
template <int kT, int kKw, int kI>
HWY_INLINE void AddColumn(const int8_t* weight, int64_t line_bytes, const int8_t* tails,
                          const int32_t* offset, const uint8_t* value, int64_t quads, VI32* acc) {
  (void)line_bytes, (void)tails;  // one of them
  constexpr int low = kI - kT + 1 > 0 ? kI - kT + 1 : 0;
  constexpr int high = kI < kKw - 1 ? kI : kKw - 1;
  const int32_t* of = offset + kI * quads * 4;
  int32_t four_values;
  std::memcpy(&four_values, value + kI * quads * 4, 4);
  const VU8 x = hn::BitCast(DU8(), hn::Set(DI32(), four_values));
  const int8_t* line[4] = {weight + of[0], weight + of[1], weight + of[2], weight + of[3]};
  AddTaps<0, low, high, kT, kI>(line, x, acc);
  if constexpr (kKw == 5 && high == 4) {
#if HWY_TARGET == HWY_AVX3_DL
    const auto tail = [&](int j) HWY_ATTR {
      return _mm_load_si128(reinterpret_cast<const __m128i*>(tails + of[j] / 4));
    };
    __m512i four = _mm512_castsi128_si512(tail(0));
    four = _mm512_inserti32x4(four, tail(1), 1);
    four = _mm512_inserti32x4(four, tail(2), 2);
    four = _mm512_inserti32x4(four, tail(3), 3);
    const __m512i order = _mm512_load_si512(kTailOrder);
    acc[kI - 4] = Dot4(acc[kI - 4], x, VI8{_mm512_permutexvar_epi8(order, four)});
#else
    const int8_t* second[4] = {line[0] + line_bytes, line[1] + line_bytes, line[2] + line_bytes,
                               line[3] + line_bytes};
    AddTaps<4, low, high, kT, kI>(second, x, acc);
#endif
  }
  if constexpr (kI + 1 < kT + kKw - 1) {
    AddColumn<kT, kKw, kI + 1>(weight, line_bytes, tails, offset, value, quads, acc);
  }
}

template <int kT, int kKw>
void Blocks(const ConvQuadsI8Args& a, const QuadMap& map) {
  const DI32 d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const ConvQuadsI8& s = *a.conv;
  const int32_t out_c = s.output.channels;
  const int8_t* tails = s.weight.data() + (kKw + 3) / 4 * s.line_bytes;
  for (int32_t b = 0; b < s.blocks; ++b) {
    for (int32_t l = 0; l < 16; l += lanes) {
      const int32_t o = b * 16 + l;
      if (o >= out_c) break;
      const VI32 bias = hn::LoadU(d, s.bias_o.data() + o),
                 shift = hn::LoadU(d, s.shift_o.data() + o);
      const int32_t outputs = std::min(lanes, out_c - o);
      for (int32_t oy = 0; oy < s.output.height; ++oy) {
        for (int32_t ox = 0; ox < s.output.width; ox = NextTile(ox, kT, s.output.width)) {
          VI32 acc[kT];
          HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
          const int64_t first = (int64_t{oy} * s.padded_w() + ox) * s.quads;
          for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
            const int64_t at = first + s.quad_e[e];
            AddColumn<kT, kKw, 0>(s.weight.data() + s.weight_e[e] + l * 4, s.line_bytes,
                                  tails + s.weight_e[e] / 4, map.offset + at * 4,
                                  map.value + at * 4, s.quads, acc);
          }
          uint8_t* y = a.output + (int64_t{oy} * s.output.width + ox) * out_c + o;
          HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
            if (HWY_LIKELY(outputs == lanes)) {
              StoreRequantised(acc[t], shift, y + int64_t{t} * out_c);
            } else {
              uint8_t q[16];
              StoreRequantised(acc[t], shift, q);
              std::copy_n(q, outputs, y + int64_t{t} * out_c);
            }
          }
        }
      }
    }
  }
}

template <int kKw>
void Columns(const ConvQuadsI8Args& a, const QuadMap& map) {
  switch (ChooseTileColumns(a.conv->output.width)) {
    case 10:
      return Blocks<10, kKw>(a, map);
    case 8:
      return Blocks<8, kKw>(a, map);
    case 5:
      return Blocks<5, kKw>(a, map);
    case 4:
      return Blocks<4, kKw>(a, map);
    case 2:
      return Blocks<2, kKw>(a, map);
    default:
      return Blocks<1, kKw>(a, map);
  }
}

void ConvQuads(const ConvQuadsI8Args& a) {
  const QuadMap map = MakeQuadMap(a);
  return a.conv->window.kernel_w == 3 ? Columns<3>(a, map) : Columns<5>(a, map);
}
#endif  // HWY_SCALAR

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvQuads);

void ConvQuadsI8Run(const ConvQuadsI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(ConvQuads)(args); }

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
