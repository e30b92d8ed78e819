// SPDX-License-Identifier: Apache-2.0
// Entries and lines of weights for conv_quads_i8. Read first: conv_quads_i8.h.
#include <algorithm>
#include <limits>
#include <string_view>

#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/ops/shared/rounded_bias.h"
#include "deploy/simd/cpu.h"

namespace bisparse::kernels {
namespace {

/// Who owns a kernel row of channels [begin, end) in set n; -1 if more than one does.
int32_t OwnerOfGroups(const packed::Layout& layout, const packed::Layer& layer, int32_t n,
                      const ConvQuadsI8& conv, int32_t row, int32_t begin, int32_t end) {
  if (layout.packing.set_size == 1) return 0;
  const int32_t run_channels = layout.packing.run.channels;
  const bool each_tap = layout.packing.run.taps == packed::RunTaps::kOne;
  int32_t owner = -1;
  // A run at a time.
  for (int32_t c = begin; c < end; c += run_channels - c % run_channels) {
    for (int32_t tap = 0; tap < (each_tap ? conv.row_taps : 1); ++tap) {
      const int64_t p = (int64_t{c} * conv.rows + row) * conv.row_taps + tap;
      const int32_t here = layout.Owner(layer.owner_nr, n, p);
      if (owner >= 0 && owner != here) return -1;
      owner = here;
    }
  }
  return owner;
}

/// A kernel row of some slots.
struct RowOfSlots {
  int32_t row, slot;
};

/// Of each block the rows that it owns of every `step` slots; false if there is one that nobody owns alone.
bool FindRows(const packed::Layout& layout, const packed::Layer& layer, const ConvQuadsI8& conv,
              int32_t groups, int32_t step, std::vector<std::vector<RowOfSlots>>& rows_b) {
  const int32_t slots = conv.slots;
  const int32_t per_group = slots / groups, width = layout.shape.channels / groups;
  rows_b.assign(static_cast<size_t>(layout.sets) * layout.packing.set_size, {});
  for (int32_t n = 0; n < layout.sets; ++n) {
    for (int32_t row = 0; row < conv.rows; ++row) {
      int32_t owner = -1, first = -1, last = -1;  // groups whose owner is known
      for (int32_t slot = 0; slot < slots; slot += step) {
        const int32_t end = std::min(slot + step, slots);
        if (slot / per_group != first || (end - 1) / per_group != last) {
          first = slot / per_group;
          last = (end - 1) / per_group;
          owner = OwnerOfGroups(layout, layer, n, conv, row, first * width, (last + 1) * width);
        }
        if (owner < 0) return false;
        rows_b[static_cast<size_t>(n * layout.packing.set_size + owner)].push_back({row, slot});
      }
    }
  }
  return true;
}

/// Entries of quads that are read where they are.
void AddQuads(const std::vector<RowOfSlots>& rows, int64_t set, ConvQuadsI8& conv) {
  for (const RowOfSlots& row : rows) {
    conv.quad_e.push_back(
        static_cast<int32_t>(conv.RowAt(row.row, conv.padded_w()) * conv.quads + row.slot / 4));
    conv.weight_e.push_back(static_cast<int32_t>(set + row.row * 4 * conv.lanes));
  }
}

/// Entries of any four; what is missing to the last four is read from the plane of zeros. Places of a layer whose scratch is
/// refused afterwards may be cut off.
void AddGathered(const std::vector<RowOfSlots>& rows, int64_t set, ConvQuadsI8& conv) {
  for (size_t first = 0; first < rows.size(); first += 4) {
    for (size_t i = first; i < first + 4; ++i) {
      const RowOfSlots row = i < rows.size() ? rows[i] : RowOfSlots{0, conv.slots};
      conv.plane_ej.push_back(
          static_cast<int32_t>(row.slot * conv.plane() + conv.RowAt(row.row, conv.row_w())));
      conv.row_ej.push_back(row.row * conv.lanes / 2);
    }
    conv.quad_e.push_back(static_cast<int32_t>(static_cast<int64_t>(first / 4) * conv.row_w()));
    conv.weight_e.push_back(static_cast<int32_t>(set));
  }
}

/// Where each four sets' owners of a quad have their sums.
void FindSums(const std::vector<std::vector<RowOfSlots>>& rows_b, int32_t sets, ConvQuadsI8& conv) {
  const int32_t quads_of_group = conv.rows * conv.quads, beyond = conv.sets_outputs();
  conv.sums_eg.assign(static_cast<size_t>((sets + 3) / 4 * quads_of_group) * 4,
                      {4 * beyond, 4 * beyond});
  for (size_t b = 0; b < rows_b.size(); ++b) {
    const auto n = static_cast<int32_t>(b) / conv.set_size;
    const int32_t to = static_cast<int32_t>(b) % (4 * conv.set_size) * conv.lanes;
    for (size_t i = 0; i < rows_b[b].size(); ++i) {
      const int32_t row = rows_b[b][i].row * conv.quads + rows_b[b][i].slot / 4;
      const auto quad = static_cast<size_t>(n / 4 * quads_of_group + row);
      conv.sums_eg[quad * 4 + static_cast<size_t>(n % 4)] = {
          4 * to, 4 * (i == 0 ? to + conv.sums_stride() : to)};
    }
  }
}

}  // namespace

bool FitsConvQuadsI8(const packed::Layer& layer) {
  const packed::Window& w = layer.window;
  const int32_t taps = ConvQuadsRowTaps(w);
  return (layer.packing.lanes == 16 || layer.packing.lanes == 8) && w.stride_h == 1 &&
         w.stride_w == 1 && (taps == 1 || taps == 3 || taps == 5);
}

bool FitsConvQuadsBySets(const packed::Layer& layer, int32_t slots, std::string_view isa) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const packed::Window& w = layer.window;
  if (!FitsConvQuadsI8(layer) || layer.packing.lanes != 16 || ConvQuadsRowTaps(w) != 1)
    return false;
  // Registers of 16 sums take single taps fast enough where few quads or sets share the way to memory.
  const int32_t rows = w.kernel_h * w.kernel_w;
  return IsAvx3(isa) ? layout.sets % 4 == 0 && rows * ((slots + 3) / 4) >= 8 : layout.sets >= 3;
}

namespace {

/// weights: false leaves out what only a run reads.
std::optional<ConvQuadsI8> Prepare(const packed::Layer& layer, int32_t slots, int32_t groups,
                                   uint8_t zero, bool pool, std::string_view isa, bool weights) {
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
  conv.lanes = layer.packing.lanes;
  conv.set_size = layer.packing.set_size;
  conv.blocks = layout.blocks;
  conv.row_taps = ConvQuadsRowTaps(w);
  conv.rows = w.kernel_h * (w.kernel_w / conv.row_taps);
  const int32_t lines = (conv.row_taps + 3) / 4;
  const int64_t row_bytes = int64_t{4} * conv.lanes;
  const int64_t set_bytes = conv.rows * row_bytes * layer.input.channels;
  if (set_bytes / 8 > std::numeric_limits<uint16_t>::max()) return std::nullopt;
  conv.channel_step = ConvQuadsChannelStep(layer);
  std::vector<std::vector<RowOfSlots>> rows_b;
  conv.gathered = conv.lanes == 8 || !FindRows(layout, layer, conv, groups, 4, rows_b);
  if (conv.gathered && !FindRows(layout, layer, conv, groups, 1, rows_b)) return std::nullopt;
  conv.by_sets = !conv.gathered && !pool && FitsConvQuadsBySets(layer, slots, isa);
  // Lines of taps are followed by a quarter as much for single last taps.
  conv.line_bytes = conv.by_sets ? set_bytes : layout.sets * set_bytes;
  const int64_t bytes = conv.by_sets ? (layout.sets + 3) / 4 * set_bytes
                                     : conv.line_bytes * lines + conv.line_bytes / 4;
  if (bytes > std::numeric_limits<int32_t>::max()) return std::nullopt;
  conv.quads = conv.gathered ? 1 : (slots + 3) / 4;
  conv.begin_b.push_back(0);
  for (int32_t b = 0; b < layout.blocks; ++b) {
    const std::vector<RowOfSlots>& rows = rows_b[static_cast<size_t>(b)];
    const int32_t n = b / layer.packing.set_size;
    const int64_t set = (conv.by_sets ? n / 4 : n) * set_bytes;
    conv.gathered ? AddGathered(rows, set, conv) : AddQuads(rows, set, conv);
    conv.begin_b.push_back(static_cast<int32_t>(conv.quad_e.size()));
    conv.most_entries = std::max(conv.most_entries, conv.begin_b.back() - conv.begin_b.end()[-2]);
  }
  // Copies of that size (also keeps places within 32 bits) would take longer than they spare.
  constexpr int64_t kMostGatheredBytes = 1 << 24;
  if (conv.gathered && conv.scratch_bytes() > kMostGatheredBytes) return std::nullopt;

  if (!weights) return conv;

  if (conv.by_sets) FindSums(rows_b, layout.sets, conv);

  conv.narrow = packed::AreNarrow(layer.weight_i8_pnl);
  conv.weight = AlignedBuffer<int8_t>(static_cast<size_t>(bytes));
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t tap = p % conv.row_taps, row_of_channels = p / conv.row_taps;  // c·rows + row
    for (int32_t n = 0; n < layout.sets; ++n) {
      const int64_t row = (conv.by_sets ? n / 4 : n) * set_bytes + row_of_channels * row_bytes;
      const int64_t quarter = conv.by_sets ? n % 4 : tap % 4;
      int8_t* line = conv.weight.data() + tap / 4 * conv.line_bytes + row;
      int8_t* tail = conv.weight.data() + lines * conv.line_bytes + row / 4;
      for (int32_t l = 0; l < conv.lanes; ++l) {
        const int8_t weight = layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
        line[l / 4 * 16 + quarter * 4 + l % 4] = weight;
        if (!conv.by_sets && tap % 4 == 0 && tap == conv.row_taps - 1) tail[l] = weight;
      }
    }
  }
  const auto outputs = static_cast<size_t>(layout.blocks) * static_cast<size_t>(conv.lanes);
  conv.bias_o = AlignedBuffer<int32_t>((outputs + 15) / 16 * 16);
  conv.shift_o = AlignedBuffer<int32_t>(conv.bias_o.size());
  for (size_t o = 0; o < outputs; ++o) {
    conv.shift_o.data()[o] = layer.shift_o[o];
    conv.bias_o.data()[o] = ops::RoundedBias(layer, o);
  }
  return conv;
}

}  // namespace

std::optional<ConvQuadsI8> OutlineConvQuadsI8(const packed::Layer& layer, int32_t slots,
                                              int32_t groups, bool pool, std::string_view isa) {
  return Prepare(layer, slots, groups, 0, pool, isa, false);
}

std::optional<ConvQuadsI8> PrepareConvQuadsI8(const packed::Layer& layer, int32_t slots,
                                              int32_t groups, uint8_t zero, bool pool) {
  return Prepare(layer, slots, groups, zero, pool, IsaName(), true);
}

}  // namespace bisparse::kernels
