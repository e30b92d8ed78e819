// SPDX-License-Identifier: Apache-2.0
// Read first: training_prepare.h. Tested in: training_f32_test.cc.
#include "deploy/ops/training/training_prepare.h"

#include <limits>

#include "deploy/base/check.h"

namespace bisparse::kernels {
namespace {

int32_t ToInt32(int64_t value) {
  BISPARSE_CHECK(value <= std::numeric_limits<int32_t>::max());
  return static_cast<int32_t>(value);
}

struct Axis {
  int32_t in, out, kernel, stride, pad, dilation;
};

/// Appends for each input row the taps that read it; returns where each row's begin, and the end.
std::vector<int32_t> Reach(const Axis& a, int64_t row_step, int64_t output_step,
                           std::vector<TapReach>& reach) {
  std::vector<int32_t> begin = {0};
  for (int32_t i = 0; i < a.in; ++i) {
    for (int32_t k = 0; k < a.kernel; ++k) {
      const int32_t at = i + a.pad - k * a.dilation;
      if (at < 0 || at % a.stride != 0 || at / a.stride >= a.out) continue;
      reach.push_back({ToInt32(k * row_step), ToInt32(at / a.stride * output_step)});
    }
    begin.push_back(ToInt32(static_cast<int64_t>(reach.size())));
  }
  return begin;
}

}  // namespace

PreparedTraining PrepareTraining(const packed::Layout& layout, const packed::Window& window,
                                 const Shape& input, const Shape& output,
                                 std::span<const uint8_t> owner_nr) {
  const packed::KernelShape& k = layout.shape;
  const int32_t sets = layout.sets, lanes = layout.packing.lanes,
                set_size = layout.packing.set_size;
  const int64_t width = layout.outputs_padded();
  BISPARSE_CHECK(input.channels == k.channels);
  ToInt32(layout.slots());
  ToInt32(width * output.height * output.width);

  PreparedTraining t;
  const std::vector<int32_t> begin_y = Reach(
      {input.height, output.height, k.kernel_h, window.stride_h, window.pad_h, window.dilation_h},
      int64_t{k.kernel_w} * sets, output.width * width, t.reach_y);
  const std::vector<int32_t> begin_x = Reach(
      {input.width, output.width, k.kernel_w, window.stride_w, window.pad_w, window.dilation_w},
      sets, width, t.reach_x);
  for (int32_t y = 0; y < input.height; ++y) {
    for (int32_t x = 0; x < input.width; ++x)
      t.reach_q.push_back({begin_y[y], begin_y[y + 1], begin_x[x], begin_x[x + 1]});
  }
  t.block_pn.reserve(static_cast<size_t>(layout.positions * sets));
  layout.ForEachRow(owner_nr, [&](int64_t, int32_t, int64_t first, int64_t) {
    t.block_pn.push_back(ToInt32(first));
  });

  // An aligned layer's rows ask for the padded map up to the last window's end, which a stride may leave short of the edge.
  t.padded_h = input.height + 2 * window.pad_h;
  t.padded_w = input.width + 2 * window.pad_w;
  const int64_t x_row = int64_t{t.padded_w} * input.channels;
  std::vector<int32_t> count_b(static_cast<size_t>(sets * set_size + 1), 0);
  for (const int32_t first : t.block_pn) ++count_b[static_cast<size_t>(first / lanes + 1)];
  for (size_t b = 1; b < count_b.size(); ++b) count_b[b] += count_b[b - 1];
  t.lists.begin_b = count_b;
  t.lists.input_e.resize(t.block_pn.size());
  t.lists.weight_e.resize(t.block_pn.size());
  layout.ForEachRow(owner_nr, [&](int64_t p, int32_t, int64_t first, int64_t slot) {
    const int64_t tap = p % (int64_t{k.kernel_h} * k.kernel_w);
    const int64_t c = p / (int64_t{k.kernel_h} * k.kernel_w);
    const int64_t at = tap / k.kernel_w * window.dilation_h * x_row +
                       tap % k.kernel_w * window.dilation_w * input.channels + c;
    const auto e = static_cast<size_t>(count_b[static_cast<size_t>(first / lanes)]++);
    t.lists.input_e[e] = ToInt32(at);
    t.lists.weight_e[e] = ToInt32(slot);
  });

  const bool map = input.height * input.width > 1 || output.height * output.width > 1 ||
                   k.kernel_h * k.kernel_w > 1;
  t.winners = {.channels = k.channels,
               .positions = input.height * input.width,
               .outputs = output.height * output.width,
               .taps = k.kernel_h * k.kernel_w,
               .sets = sets,
               .lanes = lanes,
               .width = ToInt32(width),
               .block_pn = t.block_pn.data(),
               .reach_y = t.reach_y.data(),
               .reach_x = t.reach_x.data(),
               .reach_q = t.reach_q.data()};
  t.dense = {.lanes = lanes,
             .block_begin = 0,
             .block_end = sets * set_size,
             .begin_b = t.lists.begin_b.data(),
             .input_e = t.lists.input_e.data(),
             .weight_e = t.lists.weight_e.data(),
             .rows = output.height,
             .columns = output.width,
             .x_row = map ? x_row * window.stride_h : 0,
             .x_column = map ? int64_t{input.channels} * window.stride_w : k.channels,
             .y_row = output.width * width,
             .y_column = width};
  return t;
}

}  // namespace bisparse::kernels
