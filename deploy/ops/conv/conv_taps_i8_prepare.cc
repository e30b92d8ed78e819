// SPDX-License-Identifier: Apache-2.0
// Lists of taps for conv_taps_i8. Read first: conv_taps_i8.h.
#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>

#include "deploy/ops/conv/conv_taps_i8.h"
#include "deploy/ops/shared/rounded_bias.h"
#include "deploy/packed/layout.h"
#include "deploy/simd/cpu.h"

namespace bisparse::kernels {
namespace {

struct Tap {
  uint8_t at;  ///< byte of the window: 8·column + row
  int8_t weight;
};
using Taps = std::vector<Tap>;

std::vector<Taps> TapsOfOutputs(const packed::Layer& layer, bool dense) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  std::vector<Taps> taps_o(static_cast<size_t>(layout.shape.outputs));
  for (int32_t o = 0; o < layout.shape.outputs; ++o) {
    const auto [n, s, l] = layout.PlaceOf(o);
    for (int64_t p = 0; p < layout.positions; ++p) {
      const bool owned = layout.Owner(layer.owner_nr, n, p) == s;
      if (!owned && !dense) continue;
      const int64_t kernel_w = layer.window.kernel_w;
      taps_o[static_cast<size_t>(o)].push_back(
          {.at = static_cast<uint8_t>(p % kernel_w * 8 + p / kernel_w),
           .weight =
               owned ? layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))] : int8_t{0}});
    }
  }
  return taps_o;
}

/// Which output each of a chunk's 64 lanes computes, -1 for none: in their order, or kernels of many taps together, so
/// that the other blocks need few fours.
std::vector<int32_t> PlaceOutputs(const std::vector<Taps>& taps_o, int32_t chunk, bool sort) {
  std::vector<int32_t> output_of(
      std::min<size_t>(64, taps_o.size() - static_cast<size_t>(chunk) * 64));
  std::iota(output_of.begin(), output_of.end(), chunk * 64);
  if (sort) {
    std::stable_sort(output_of.begin(), output_of.end(), [&](int32_t a, int32_t b) {
      return taps_o[static_cast<size_t>(a)].size() > taps_o[static_cast<size_t>(b)].size();
    });
  }
  output_of.resize(64, -1);
  return output_of;
}

size_t MostTaps(const std::vector<Taps>& taps_o, std::span<const int32_t> outputs) {
  size_t most = 0;
  for (const int32_t o : outputs) {
    if (o >= 0) most = std::max(most, taps_o[static_cast<size_t>(o)].size());
  }
  return most;
}

/// All kernels of each block of 16 read the same taps.
bool BlocksShareTaps(const std::vector<Taps>& taps_o) {
  for (size_t o = 0; o < taps_o.size(); ++o) {
    const Taps &taps = taps_o[o], &first = taps_o[o / 16 * 16];
    const bool same = std::equal(taps.begin(), taps.end(), first.begin(), first.end(),
                                 [](const Tap& a, const Tap& b) { return a.at == b.at; });
    if (!same) return false;
  }
  return true;
}

/// The distinct fours of taps and the spread that makes them of a window.
void PrepareShared(const std::vector<uint8_t>& index, ConvTapsI8& conv) {
  std::vector<std::array<uint8_t, 4>> distinct;
  for (size_t g = 0; g < index.size() / 64; ++g) {
    const uint8_t* at = index.data() + g * 64;
    const std::array<uint8_t, 4> four{at[0], at[1], at[2], at[3]};
    const auto known = std::find(distinct.begin(), distinct.end(), four);
    conv.four_g.push_back(static_cast<int32_t>(known - distinct.begin()));
    if (known == distinct.end()) distinct.push_back(four);
  }
  conv.fours = static_cast<int32_t>(distinct.size());
  conv.spread = AlignedBuffer<uint8_t>(static_cast<size_t>(conv.spreads()) * 64);
  const auto windows = static_cast<size_t>(conv.windows);
  for (size_t i = 0; i < distinct.size() * 4 * windows; ++i) {
    const size_t window = i / 4 % windows;
    conv.spread.data()[i] =
        static_cast<uint8_t>(distinct[i / 4 / windows][i % 4] + window / 2 + window % 2 * 8);
  }
}

/// The pairs form of what the shared form holds.
void PreparePairs(const std::vector<uint8_t>& index, const std::vector<int8_t>& weight,
                  ConvTapsI8& conv) {
  std::vector<int16_t> pair_weight;
  conv.pair_bias = AlignedBuffer<int32_t>(conv.bias_o.size());
  conv.pair_shift = AlignedBuffer<int32_t>(conv.bias_o.size());
  conv.pair_begin_b.push_back(0);
  for (size_t b = 0; b < static_cast<size_t>(conv.blocks); ++b) {
    for (size_t g = static_cast<size_t>(conv.begin_b[b]);
         g < static_cast<size_t>(conv.begin_b[b + 1]); ++g) {
      for (size_t half = 0; half < 4; half += 2) {
        const size_t first = g * 64 + half;
        bool empty = true;
        for (size_t lane = 0; lane < 16; ++lane) {
          empty = empty && weight[first + lane * 4] == 0 && weight[first + lane * 4 + 1] == 0;
        }
        if (empty) continue;
        const std::array<uint8_t, 2> pair{index[first], index[first + 1]};
        const auto known = std::find(conv.pairs.begin(), conv.pairs.end(), pair);
        conv.pair_g.push_back(static_cast<int32_t>(known - conv.pairs.begin()));
        if (known == conv.pairs.end()) conv.pairs.push_back(pair);
        for (const int32_t lane : ConvTapsI8::kPairOrder) {
          const size_t at = first + static_cast<size_t>(lane) * 4;
          pair_weight.push_back(weight[at]);
          pair_weight.push_back(weight[at + 1]);
        }
      }
    }
    conv.pair_begin_b.push_back(static_cast<int32_t>(conv.pair_g.size()));
    for (size_t j = 0; j < 16; ++j) {
      const size_t lane = b * 16 + static_cast<size_t>(ConvTapsI8::kPairOrder[j]);
      conv.pair_bias.data()[b * 16 + j] = conv.bias_o.data()[lane];
      conv.pair_shift.data()[b * 16 + j] = conv.shift_o.data()[lane];
    }
  }
  const auto half = static_cast<int32_t>(conv.half_row());
  for (const std::array<uint8_t, 2>& pair : conv.pairs) {
    for (int32_t window = 0; window < conv.windows; ++window) {
      const auto from = [&](int32_t byte) {
        const int32_t column = byte / 8 + window % 2;
        return ((byte % 8 + window / 2) * 2 + column % 2) * half + column / 2;
      };
      conv.pair_from.push_back({from(pair[0]), from(pair[1])});
    }
  }
  conv.pair_weight = AlignedBuffer<int16_t>(pair_weight.size());
  std::copy(pair_weight.begin(), pair_weight.end(), conv.pair_weight.data());
}

// First layers have a few hundred outputs; of more, looking for fours alike and keeping their taps spread would take
// long. The scratch holds the map and rows of spread taps: below 1 GiB with these.
constexpr int32_t kMostOutputs = 1024, kMostPlaces = 1 << 14;

bool Fits(const packed::Layer& layer, bool pool) {
  const packed::Window& w = layer.window;
  const Shape& y = layer.output;
  return layer.input.channels == 1 && !w.IsDilated() && y.channels <= kMostOutputs &&
         std::max(y.height, y.width) <= kMostPlaces && w.stride_h == w.stride_w &&
         (!pool || w.stride_h == 1) && w.kernel_h <= 7 && w.kernel_w <= 7 &&
         !layer.shift_o.empty() && std::min(y.height, y.width) >= (pool ? 2 : 1);
}

}  // namespace

bool HasConvTapsI8(const packed::Layer& layer, bool pool, bool dense, std::string_view isa) {
  if (!Fits(layer, pool)) return false;
  if (IsAvx3Dl(isa)) return true;
  const bool shared = dense || layer.packing.set_size == 1 || layer.packing.lanes == 16;
  const bool pairs = shared && (pool || layer.window.stride_h == 2);
  return pairs && (isa == "AVX2" || IsAvx3(isa));
}

std::optional<ConvTapsI8> PrepareConvTapsI8(const packed::Layer& layer, bool pool, uint8_t zero,
                                            bool dense, int32_t group) {
  if (!Fits(layer, pool)) return std::nullopt;
  const packed::Window& w = layer.window;
  ConvTapsI8 conv;
  conv.input = layer.input;
  conv.output = layer.output;
  if (pool) {
    conv.output.height /= 2;
    conv.output.width /= 2;
  }
  conv.windows = pool ? 4 : 1;
  conv.step = pool ? 2 : w.stride_h;
  conv.pad_h = w.pad_h;
  conv.pad_w = w.pad_w;
  conv.zero = zero;
  conv.group = ConvTapsMakesWinners(conv.output.channels) ? group : 0;
  const std::vector<Taps> taps_o = TapsOfOutputs(layer, dense);
  conv.shared = BlocksShareTaps(taps_o);
  // In chunks of 64 outputs, so that a chunk's order is undone in one register.
  const int32_t chunks = (static_cast<int32_t>(taps_o.size()) + 63) / 64;
  conv.blocks = chunks * 4;
  conv.bias_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.shift_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.order = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  conv.fold = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  conv.complement = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  std::vector<uint8_t> index;
  std::vector<int8_t> weight;
  conv.begin_b.push_back(0);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    const std::vector<int32_t> output_of = PlaceOutputs(taps_o, chunk, !conv.shared);
    const size_t alike = (MostTaps(taps_o, output_of) + 3) / 4;
    for (size_t block = 0; block < 4; ++block) {
      const size_t most = MostTaps(taps_o, std::span(output_of).subspan(block * 16, 16));
      bool single = !conv.shared && conv.windows == 4 && most % 4 == 1;
      size_t fours = single ? most / 4 : (most + 3) / 4;
      // Zero weights make blocks of few fours alike, so that a chunk's weights stay in registers.
      if (conv.shared && alike <= ConvTapsI8::kChunkFours) fours = alike;
      if (fours > 7) {  // past 7 there is a loop for this many only
        fours = (7 * 7 + 3) / 4;
        single = false;
      }
      const size_t begin = index.size();
      index.resize(begin + (fours + single) * 64);
      weight.resize(index.size());
      for (size_t lane = 0; lane < 16; ++lane) {
        const int32_t output = output_of[block * 16 + lane];
        if (output < 0) continue;
        const size_t o = static_cast<size_t>(output),
                     slot = static_cast<size_t>(chunk) * 64 + block * 16 + lane;
        for (size_t t = 0; t < taps_o[o].size(); ++t) {
          const size_t at = begin + t / 4 * 64 + lane * 4 + t % 4;
          index[at] = taps_o[o][t].at;
          weight[at] = taps_o[o][t].weight;
        }
        if (single && taps_o[o].size() == most) {
          const Tap last = taps_o[o].back();
          for (size_t place = 0; place < 4; ++place) {
            const size_t at = begin + fours * 64 + lane * 4 + place;
            index[at] = static_cast<uint8_t>(last.at + place / 2 + place % 2 * 8);
            weight[at] = last.weight;
          }
        }
        conv.shift_o.data()[slot] = layer.shift_o[o];
        conv.bias_o.data()[slot] = ops::RoundedBias(layer, static_cast<size_t>(o));
        const auto byte = static_cast<uint8_t>(lane / 4 * 16 + block * 4 + lane % 4);
        // Channel c of group g: two bytes of each four of 128 bits are a group, the other two the next.
        const size_t g = o % 64 / 8, c = o % 8;
        const size_t folded = o / 64 * 64 + g / 2 * 16 + c / 2 * 4 + g % 2 * 2 + c % 2;
        conv.order.data()[o] = byte;
        conv.fold.data()[folded] = byte;
        conv.complement.data()[folded] = static_cast<uint8_t>(255 - output % 256);
      }
      conv.fours_b.push_back(static_cast<int32_t>(fours));
      conv.begin_b.push_back(static_cast<int32_t>(index.size() / 64));
    }
  }
  if (conv.shared) {
    PrepareShared(index, conv);
    if (conv.has_pairs()) PreparePairs(index, weight, conv);
  }
  conv.index = AlignedBuffer<uint8_t>(index.size());
  conv.weight = AlignedBuffer<int8_t>(weight.size());
  std::copy(index.begin(), index.end(), conv.index.data());
  std::copy(weight.begin(), weight.end(), conv.weight.data());
  return conv;
}

}  // namespace bisparse::kernels
