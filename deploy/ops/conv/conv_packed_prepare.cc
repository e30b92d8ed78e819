// SPDX-License-Identifier: Apache-2.0
// Read first: conv_packed_prepare.h. Tested in: conv_packed_f32_test.cc.
#include "deploy/ops/conv/conv_packed_prepare.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "deploy/base/check.h"

namespace bisparse::kernels {
namespace {

int32_t ToInt32(int64_t value) {
  BISPARSE_CHECK(value <= std::numeric_limits<int32_t>::max());
  return static_cast<int32_t>(value);
}

/// A stride that no second output takes is 1: forms keep planes for each phase of the stride, used or not.
ConvPackedShape MakeShape(const packed::Layout& layout, const packed::Window& window,
                          const Shape& input, const Shape& output) {
  return {.in_h = input.height,
          .in_w = input.width,
          .in_c = input.channels,
          .out_h = output.height,
          .out_w = output.width,
          .out_c = output.channels,
          .kernel_h = window.kernel_h,
          .kernel_w = window.kernel_w,
          .stride_h = output.height > 1 ? window.stride_h : 1,
          .stride_w = output.width > 1 ? window.stride_w : 1,
          .pad_h = window.pad_h,
          .pad_w = window.pad_w,
          .dilation_h = window.dilation_h,
          .dilation_w = window.dilation_w,
          .set_size = layout.packing.set_size,
          .lanes = layout.packing.lanes,
          .sets = layout.sets};
}

void SetPointers(std::span<const float> weight_pnl, std::span<const float> bias_o,
                 PreparedConv& conv) {
  ConvPackedPlanF32& plan = conv.plan;
  const PackedLists& lists = conv.lists;
  plan.weight = lists.WeightBase(weight_pnl.data());
  plan.bias_o = bias_o.data();
  plan.begin_b = lists.begin_b.data();
  plan.input_e = lists.input_e.data();
  plan.weight_e = lists.weight_e.data();
  plan.owner_pn = lists.owner_pn.empty() ? nullptr : lists.owner_pn.data();
}

/// Fills the plan's pointers and the count of multiplications: entries · taps of an entry · lanes ·
/// output positions.
void Finish(std::span<const float> weight_pnl, std::span<const float> bias_o,
            int32_t taps_per_entry, PreparedConv& conv) {
  SetPointers(weight_pnl, bias_o, conv);
  const PackedLists& lists = conv.lists;
  const ConvPackedShape& s = conv.plan.shape;
  for (size_t b = 0; b + 1 < lists.begin_b.size(); ++b) {
    const int64_t real =
        std::clamp<int64_t>(s.out_c - static_cast<int64_t>(b) * s.lanes, 0, s.lanes);
    conv.macs_per_map += (lists.begin_b[b + 1] - lists.begin_b[b]) * real * taps_per_entry *
                         int64_t{s.out_h} * s.out_w;
  }
}

/// Owner of tap (ky, kx) for every channel of group g of set n; -1 if it differs among them.
int32_t OwnerOfGroup(const packed::Layout& layout, std::span<const uint8_t> owner_nr, int32_t n,
                     int32_t g, int32_t group_width, int32_t ky, int32_t kx) {
  const packed::KernelShape& k = layout.shape;
  int32_t owner = -1;
  for (int32_t c = g * group_width; c < (g + 1) * group_width; ++c) {
    const int64_t p = (int64_t{c} * k.kernel_h + ky) * k.kernel_w + kx;
    const int32_t here = layout.Owner(owner_nr, n, p);
    if (owner >= 0 && owner != here) return -1;
    owner = here;
  }
  return owner;
}

struct Tap {
  int32_t ky, kx, slot, owner;
};

/// Entries of set n for winners: slot j of a position belongs to group j / (slots of a group).
/// Empty if an owner depends on which channel won. With `rows` one entry stands for a kernel row
/// (kx = 0).
std::vector<Tap> AlignedTaps(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                             const WinnersPattern& pattern, int32_t n, bool rows) {
  const packed::KernelShape& k = layout.shape;
  const int32_t slots = pattern.per_position / pattern.groups;
  const int32_t group_width = k.channels / pattern.groups;
  std::vector<Tap> taps;
  for (int32_t ky = 0; ky < k.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < k.kernel_w; ++kx) {
      for (int32_t g = 0; g < pattern.groups; ++g) {
        const int32_t owner = OwnerOfGroup(layout, owner_nr, n, g, group_width, ky, kx);
        if (owner < 0) return {};
        if (rows && kx > 0) {
          if (owner != OwnerOfGroup(layout, owner_nr, n, g, group_width, ky, 0)) return {};
          continue;
        }
        for (int32_t j = 0; j < slots; ++j) taps.push_back({ky, kx, g * slots + j, owner});
      }
    }
  }
  return taps;
}

bool IsAligned(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
               const WinnersPattern& pattern, bool rows) {
  for (int32_t n = 0; n < layout.sets; ++n) {
    if (AlignedTaps(layout, owner_nr, pattern, n, rows).empty()) return false;
  }
  return true;
}

/// Lists of an aligned form.
void MakeAlignedLists(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                      const WinnersPattern& pattern, bool rows, PreparedConv& conv) {
  const ConvPackedShape& shape = conv.plan.shape;
  const int64_t row =
      int64_t{layout.sets} * layout.packing.lanes;  // floats of one position's weights
  const SlotPlanes planes(shape);
  PackedLists lists;
  lists.begin_b.push_back(0);
  for (int32_t n = 0; n < layout.sets; ++n) {
    const std::vector<Tap> taps = AlignedTaps(layout, owner_nr, pattern, n, rows);
    for (int32_t s = 0; s < layout.packing.set_size; ++s) {
      for (const Tap& tap : taps) {
        if (tap.owner != s) continue;
        lists.input_e.push_back(ToInt32(tap.slot * planes.plane() +
                                        int64_t{tap.ky} * shape.dilation_h * planes.pitch +
                                        tap.kx * shape.dilation_w));
        lists.weight_e.push_back(
            ToInt32((int64_t{tap.ky} * shape.kernel_w + tap.kx) * row + n * layout.packing.lanes));
      }
      lists.begin_b.push_back(ToInt32(static_cast<int64_t>(lists.input_e.size())));
    }
  }
  conv.lists = std::move(lists);
}

/// Lists for kernels that read every activation; input_of(c, y, x) is the offset of a window's element.
template <class InputOf>
void MakeDenseLists(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                    std::span<const float> weight_pnl, const InputOf& input_of,
                    PreparedConv& conv) {
  const ConvPackedShape& shape = conv.plan.shape;
  PackedLists& lists = conv.lists;
  lists.begin_b.push_back(0);
  for (int32_t n = 0; n < layout.sets; ++n) {
    for (int32_t s = 0; s < shape.set_size; ++s) {
      for (int64_t p = 0; p < layout.positions; ++p) {
        if (layout.Owner(owner_nr, n, p) != s) continue;
        const int64_t kx = p % shape.kernel_w, ky = p / shape.kernel_w % shape.kernel_h;
        const int64_t c = p / shape.kernel_w / shape.kernel_h;
        lists.input_e.push_back(ToInt32(input_of(c, ky * shape.dilation_h, kx * shape.dilation_w)));
        const int64_t slot = layout.Slot(p, n, 0);
        if (shape.lanes <
            packed::kMaxLanes) {  // short rows lie far apart: copy them in the order of reading
          lists.weight_e.push_back(ToInt32(static_cast<int64_t>(lists.weight_copy.size())));
          for (int32_t l = 0; l < shape.lanes; ++l) {
            lists.weight_copy.push_back(weight_pnl[static_cast<size_t>(slot + l)]);
          }
        } else {
          lists.weight_e.push_back(ToInt32(slot));
        }
      }
      lists.begin_b.push_back(ToInt32(static_cast<int64_t>(lists.input_e.size())));
    }
  }
}

}  // namespace

ConvPackedForm ConvPackedWinnersForm(const packed::Layout& layout, const packed::Window& window,
                                     const WinnersPattern& pattern,
                                     std::span<const uint8_t> owner_nr) {
  const bool constant = pattern.per_position > 0 && layout.packing.lanes % 4 == 0 &&
                        layout.shape.channels <= std::numeric_limits<uint16_t>::max();
  if (!constant) return ConvPackedForm::kScattered;
  // Kernel rows of 3 and 5 taps at stride 1 are unrolled; see conv_packed_winners_f32.cc.
  const bool rows = window.stride_w == 1 && window.dilation_w == 1 &&
                    (window.kernel_w == 3 || window.kernel_w == 5);
  if (rows && IsAligned(layout, owner_nr, pattern, true)) return ConvPackedForm::kAlignedRows;
  return IsAligned(layout, owner_nr, pattern, false) ? ConvPackedForm::kAlignedTaps
                                                     : ConvPackedForm::kScattered;
}

std::optional<ConvPackedForm> ConvPackedPooledForm(const packed::Layout& layout,
                                                   const packed::Window& window, const Shape& input,
                                                   const Shape& output) {
  // Half of the smallest L1 of current CPUs; the weights want some too.
  constexpr int64_t kMostFloats = 16 * 1024 / 4;
  if (output.height < 2 || output.width < 2) return std::nullopt;
  if (layout.packing.lanes == packed::kMaxLanes) return ConvPackedForm::kPooledLanes;
  if (window.IsDilated()) return std::nullopt;
  const PooledColumns columns(MakeShape(layout, window, input, output));
  if (columns.floats() > kMostFloats) return std::nullopt;
  return ConvPackedForm::kPooledColumns;
}

PreparedConv PrepareConvPackedDenseF32(const packed::Layout& layout, const packed::Window& window,
                                       const Shape& input, const Shape& output,
                                       std::span<const uint8_t> owner_nr,
                                       std::span<const float> weight_pnl,
                                       std::span<const float> bias_o) {
  PreparedConv conv;
  const ConvPackedShape s = conv.plan.shape = MakeShape(layout, window, input, output);
  if (s.lanes > 1) {
    conv.plan.form = ConvPackedForm::kLanes;
    MakeDenseLists(
        layout, owner_nr, weight_pnl,
        [&s](int64_t c, int64_t y, int64_t x) { return (y * s.padded_w() + x) * s.in_c + c; },
        conv);
  } else {
    // Planes, one for each channel and phase of the stride: see conv_packed_dense_f32.cc.
    conv.plan.form = ConvPackedForm::kColumns;
    const int64_t plane_w = (s.padded_w() + s.stride_w - 1) / s.stride_w;
    const int64_t plane = plane_w * ((s.padded_h() + s.stride_h - 1) / s.stride_h);
    MakeDenseLists(
        layout, owner_nr, weight_pnl,
        [&](int64_t c, int64_t y, int64_t x) {
          const int64_t phase = (c * s.stride_h + y % s.stride_h) * s.stride_w + x % s.stride_w;
          return phase * plane + y / s.stride_h * plane_w + x / s.stride_w;
        },
        conv);
  }
  Finish(weight_pnl, bias_o, 1, conv);
  return conv;
}

std::optional<PreparedConv> PrepareConvPackedPooledF32(const packed::Layout& layout,
                                                       const packed::Window& window,
                                                       const Shape& input, const Shape& output,
                                                       std::span<const uint8_t> owner_nr,
                                                       std::span<const float> weight_pnl,
                                                       std::span<const float> bias_o) {
  const std::optional<ConvPackedForm> form = ConvPackedPooledForm(layout, window, input, output);
  if (!form) return std::nullopt;
  if (*form == ConvPackedForm::kPooledLanes) {
    PreparedConv lanes =
        PrepareConvPackedDenseF32(layout, window, input, output, owner_nr, weight_pnl, bias_o);
    lanes.plan.form = ConvPackedForm::kPooledLanes;
    return lanes;
  }
  PreparedConv conv;
  conv.plan.form = ConvPackedForm::kPooledColumns;
  const ConvPackedShape s = conv.plan.shape = MakeShape(layout, window, input, output);
  const PooledColumns columns(s);
  std::vector<std::vector<int32_t>> position_bp(static_cast<size_t>(s.blocks()));
  for (int32_t n = 0; n < layout.sets; ++n) {
    for (int64_t p = 0; p < layout.positions; ++p) {
      const int32_t b = n * s.set_size + layout.Owner(owner_nr, n, p);
      position_bp[static_cast<size_t>(b)].push_back(ToInt32(p));
    }
  }
  PackedLists& lists = conv.lists;
  lists.begin_b.push_back(0);
  for (int32_t o = 0; o < s.out_c; ++o) {
    for (const int32_t p : position_bp[static_cast<size_t>(o / s.lanes)]) {
      const int64_t kx = p % s.kernel_w, row = p / s.kernel_w;  // c·kernel_h + ky
      const int64_t c = row / s.kernel_h;
      const auto ky = static_cast<int32_t>(row % s.kernel_h);
      lists.input_e.push_back(
          ToInt32((c * columns.shifts + kx) * columns.plane() + columns.Row(ky)));
      const int64_t slot = layout.Slot(p, o / s.lanes / s.set_size, o % s.lanes);
      lists.weight_copy.push_back(weight_pnl[static_cast<size_t>(slot)]);
    }
    lists.begin_b.push_back(ToInt32(std::ssize(lists.input_e)));
  }
  conv.macs_per_map = std::ssize(lists.input_e) * s.out_h * s.out_w;
  SetPointers(weight_pnl, bias_o, conv);
  return conv;
}

PreparedConv PrepareConvPackedWinnersF32(const packed::Layout& layout, const packed::Window& window,
                                         const Shape& input, const Shape& output,
                                         const WinnersPattern& pattern,
                                         std::span<const uint8_t> owner_nr,
                                         std::span<const float> weight_pnl,
                                         std::span<const float> bias_o) {
  PreparedConv conv;
  ConvPackedPlanF32& plan = conv.plan;
  plan.shape = MakeShape(layout, window, input, output);
  plan.per_position = pattern.per_position;
  ToInt32(layout.slots());
  plan.form = ConvPackedWinnersForm(layout, window, pattern, owner_nr);
  const bool rows = plan.form == ConvPackedForm::kAlignedRows;
  const int32_t taps_per_entry = rows ? window.kernel_w : 1;
  if (plan.form != ConvPackedForm::kScattered) {
    MakeAlignedLists(layout, owner_nr, pattern, rows, conv);
  } else {
    if (layout.packing.set_size > 1) {
      for (int64_t p = 0; p < layout.positions; ++p) {
        const int64_t r = layout.RunOf(p);
        for (int32_t n = 0; n < layout.sets; ++n) {
          conv.lists.owner_pn.push_back(static_cast<uint8_t>(layout.OwnerOfRun(owner_nr, n, r)));
        }
      }
    }
    conv.macs_per_map = int64_t{output.height} * output.width * window.kernel_h * window.kernel_w *
                        pattern.per_position * layout.sets * layout.packing.lanes;
  }
  Finish(weight_pnl, bias_o, taps_per_entry, conv);
  return conv;
}

}  // namespace bisparse::kernels
