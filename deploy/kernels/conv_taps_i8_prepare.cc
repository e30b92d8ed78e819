// SPDX-License-Identifier: Apache-2.0
// Lists of taps for conv_taps_i8. Read first: conv_taps_i8.h.
#include <algorithm>
#include <numeric>
#include <utility>

#include "deploy/kernels/conv_taps_i8.h"
#include "deploy/packed/layout.h"

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
    const int32_t l = o % layout.packing.lanes,
                  s = o / layout.packing.lanes % layout.packing.set_size,
                  n = o / layout.packing.lanes / layout.packing.set_size;
    for (int64_t p = 0; p < layout.positions; ++p) {
      const bool owned =
          layout.packing.set_size == 1 ||
          layer.owner_nr[static_cast<size_t>(n * layout.runs + layout.RunOf(p))] == s;
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

/// Which output each of a chunk's 64 lanes computes, -1 for none: kernels of many taps share blocks, so that the others
/// need few groups. grouped: every block has two kernels of each group of eight.
std::vector<int32_t> PlaceOutputs(const std::vector<Taps>& taps_o, int32_t chunk, bool grouped) {
  const auto more_taps = [&](int32_t a, int32_t b) {
    return taps_o[static_cast<size_t>(a)].size() > taps_o[static_cast<size_t>(b)].size();
  };
  std::vector<int32_t> sorted(
      std::min<size_t>(64, taps_o.size() - static_cast<size_t>(chunk) * 64));
  std::iota(sorted.begin(), sorted.end(), chunk * 64);
  std::vector<int32_t> output_of(64, -1);
  if (!grouped) {
    std::stable_sort(sorted.begin(), sorted.end(), more_taps);
    std::copy(sorted.begin(), sorted.end(), output_of.begin());
    return output_of;
  }
  for (size_t g = 0; g < 8; ++g) {
    const auto group = sorted.begin() + static_cast<ptrdiff_t>(g) * 8;
    std::stable_sort(group, group + 8, more_taps);
    for (size_t i = 0; i < 8; ++i) {
      output_of[i / 2 * 16 + g / 2 * 4 + g % 2 * 2 + i % 2] = group[static_cast<ptrdiff_t>(i)];
    }
  }
  return output_of;
}

}  // namespace

std::optional<ConvTapsI8> PrepareConvTapsI8(const packed::Layer& layer, const Shape& pooled,
                                            uint8_t zero, bool dense, bool grouped) {
  const packed::Window& w = layer.window;
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
  conv.grouped = grouped && pooled.channels % 64 == 0 && pooled.channels <= 256;
  const std::vector<Taps> taps_o = TapsOfOutputs(layer, dense);
  // In chunks of 64 outputs, so that a chunk's order is undone in one register.
  const int32_t chunks = (static_cast<int32_t>(taps_o.size()) + 63) / 64;
  conv.blocks = chunks * 4;
  conv.bias_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.shift_o = AlignedBuffer<int32_t>(static_cast<size_t>(conv.blocks) * 16);
  conv.order = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  conv.complement = AlignedBuffer<uint8_t>(static_cast<size_t>(chunks) * 64);
  std::vector<uint8_t> index;
  std::vector<int8_t> weight;
  conv.begin_b.push_back(0);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    const std::vector<int32_t> output_of = PlaceOutputs(taps_o, chunk, conv.grouped);
    for (size_t block = 0; block < 4; ++block) {
      size_t most = 0;
      for (size_t lane = 0; lane < 16; ++lane) {
        const int32_t o = output_of[block * 16 + lane];
        if (o >= 0) most = std::max(most, taps_o[static_cast<size_t>(o)].size());
      }
      const bool single = most % 4 == 1;
      size_t fours = single ? most / 4 : (most + 3) / 4;
      if (fours > 6) fours = 7 * 7 / 4;  // past 6 there is a loop for this many only
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
        const int32_t shift = layer.shift_o[o];
        conv.shift_o.data()[slot] = shift;
        conv.bias_o.data()[slot] = layer.bias_i32_o[o] + (shift > 0 ? 1 << (shift - 1) : 0);
        const size_t byte = lane / 4 * 16 + block * 4 + lane % 4;
        conv.order.data()[o] = static_cast<uint8_t>(byte);
        conv.complement.data()[static_cast<size_t>(chunk) * 64 + byte] =
            static_cast<uint8_t>(255 - output % 256);
      }
      conv.fours_b.push_back(static_cast<int32_t>(fours));
      conv.begin_b.push_back(static_cast<int32_t>(index.size() / 64));
    }
  }
  conv.index = AlignedBuffer<uint8_t>(index.size());
  conv.weight = AlignedBuffer<int8_t>(weight.size());
  std::copy(index.begin(), index.end(), conv.index.data());
  std::copy(weight.begin(), weight.end(), conv.weight.data());
  return conv;
}

}  // namespace bisparse::kernels
