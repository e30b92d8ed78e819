// SPDX-License-Identifier: Apache-2.0
// Entries and lines of weights for conv_quads_i8. Read first: conv_quads_i8.h.
#include <algorithm>
#include <limits>

#include "deploy/kernels/conv_quads_i8.h"

namespace bisparse::kernels {
namespace {

int32_t Owner(const packed::Layout& layout, const packed::Layer& layer, int32_t n, int64_t p) {
  if (layout.packing.set_size == 1) return 0;
  return layer.owner_nr[static_cast<size_t>(n * layout.runs + layout.RunOf(p))];
}

/// Who owns kernel row ky of the groups behind quad q in set n; -1 if more than one does.
int32_t OwnerOfQuad(const packed::Layout& layout, const packed::Layer& layer, int32_t n, int32_t ky,
                    int32_t q, int32_t slots, int32_t groups) {
  const packed::KernelShape& k = layout.shape;
  const int32_t per_group = slots / groups, width = k.channels / groups;
  int32_t owner = -1;
  for (int32_t g = q * 4 / per_group; g <= (std::min(q * 4 + 4, slots) - 1) / per_group; ++g) {
    for (int32_t c = g * width; c < (g + 1) * width; ++c) {
      for (int32_t kx = 0; kx < k.kernel_w; ++kx) {
        const int64_t p = (int64_t{c} * k.kernel_h + ky) * k.kernel_w + kx;
        const int32_t here = Owner(layout, layer, n, p);
        if (owner >= 0 && owner != here) return -1;
        owner = here;
      }
    }
  }
  return owner;
}

}  // namespace

bool FitsConvQuadsI8(const packed::Layer& layer) {
  const packed::Window& w = layer.window;
  return layer.packing.lanes == 16 && w.stride_h == 1 && w.stride_w == 1 &&
         (w.kernel_w == 1 || w.kernel_w == 3 || w.kernel_w == 5);
}

std::optional<ConvQuadsI8> PrepareConvQuadsI8(const packed::Layer& layer, int32_t slots,
                                              int32_t groups, uint8_t zero, bool pool) {
  const packed::Window& w = layer.window;
  const packed::Layout layout(layer.kernel(), layer.packing);
  if (!FitsConvQuadsI8(layer) || slots <= 0 || layer.shift_o.empty()) return std::nullopt;
  ConvQuadsI8 conv;
  conv.input = layer.input;
  conv.output = layer.output;
  conv.window = w;
  conv.zero = zero;
  conv.pool = pool;
  conv.slots = slots;
  conv.quads = (slots + 3) / 4;
  conv.blocks = layout.blocks;
  const int32_t lines = (w.kernel_w + 3) / 4;
  const int64_t channel_lines = w.kernel_h, set_bytes = channel_lines * 64 * layer.input.channels;
  if (8 * channel_lines * layer.input.channels > std::numeric_limits<uint16_t>::max()) {
    return std::nullopt;
  }
  conv.channel_step = static_cast<int32_t>(8 * channel_lines);
  conv.line_bytes = layout.sets * set_bytes;
  // Then a quarter as much for single last taps.
  const int64_t bytes = conv.line_bytes * lines + conv.line_bytes / 4;
  if (bytes > std::numeric_limits<int32_t>::max()) return std::nullopt;

  conv.begin_b.push_back(0);
  for (int32_t b = 0; b < layout.blocks; ++b) {
    const int32_t n = b / layer.packing.set_size, s = b % layer.packing.set_size;
    for (int32_t ky = 0; ky < w.kernel_h; ++ky) {
      for (int32_t q = 0; q < conv.quads; ++q) {
        const int32_t owner = OwnerOfQuad(layout, layer, n, ky, q, slots, groups);
        if (owner < 0) return std::nullopt;
        if (owner != s) continue;
        conv.quad_e.push_back(ky * conv.padded_w() * conv.quads + q);
        conv.weight_e.push_back(static_cast<int32_t>(n * set_bytes + ky * 64));
      }
    }
    conv.begin_b.push_back(static_cast<int32_t>(conv.quad_e.size()));
  }

  conv.narrow = packed::AreNarrow(layer.weight_i8_pnl);
  conv.weight = AlignedBuffer<int8_t>(static_cast<size_t>(bytes));
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t kx = p % w.kernel_w, ky = p / w.kernel_w % w.kernel_h,
                  c = p / w.kernel_w / w.kernel_h;
    for (int32_t n = 0; n < layout.sets; ++n) {
      const int64_t row = n * set_bytes + (c * channel_lines + ky) * 64;
      int8_t* line = conv.weight.data() + kx / 4 * conv.line_bytes + row;
      int8_t* tail = conv.weight.data() + lines * conv.line_bytes + row / 4;
      for (int32_t l = 0; l < 16; ++l) {
        const int8_t weight = layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
        line[l / 4 * 16 + kx % 4 * 4 + l % 4] = weight;
        if (kx % 4 == 0 && kx == w.kernel_w - 1) tail[l] = weight;
      }
    }
  }
  const auto outputs = static_cast<size_t>(layout.blocks) * 16;
  conv.bias_o = AlignedBuffer<int32_t>(outputs);
  conv.shift_o = AlignedBuffer<int32_t>(outputs);
  for (size_t o = 0; o < outputs; ++o) {
    const int32_t shift = layer.shift_o[o];
    conv.shift_o.data()[o] = shift;
    conv.bias_o.data()[o] = layer.bias_i32_o[o] + (shift > 0 ? 1 << (shift - 1) : 0);
  }
  return conv;
}

}  // namespace bisparse::kernels
