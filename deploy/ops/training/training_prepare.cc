// SPDX-License-Identifier: Apache-2.0
// Read first: training_prepare.h. Tested in: training_f32_test.cc.
#include "deploy/ops/training/training_prepare.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

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

/// Of one input row or column: the taps that read it, and how far each one's output is from the first one's.
struct Reach {
  std::vector<std::pair<int32_t, int32_t>> taps;
  int32_t first = 0;  ///< output of the first tap
};

std::vector<Reach> ReachOf(const Axis& a) {
  std::vector<Reach> reach(static_cast<size_t>(a.in));
  for (int32_t i = 0; i < a.in; ++i) {
    Reach& r = reach[static_cast<size_t>(i)];
    for (int32_t k = 0; k < a.kernel; ++k) {
      const int32_t at = i + a.pad - k * a.dilation;
      if (at < 0 || at % a.stride != 0 || at / a.stride >= a.out) continue;
      if (r.taps.empty()) r.first = at / a.stride;
      r.taps.emplace_back(k, at / a.stride - r.first);
    }
  }
  return reach;
}

/// Fills reach, reach_q and order_q. `width`: N·S·L.
void ListReach(const std::vector<Reach>& rows, const std::vector<Reach>& columns, int32_t kernel_w,
               int32_t sets, int64_t out_w, int64_t width, PreparedTraining& t) {
  using Taps = std::vector<std::pair<int32_t, int32_t>>;
  std::map<std::pair<Taps, Taps>, std::pair<int32_t, int32_t>> known;
  for (const Reach& y : rows) {
    for (const Reach& x : columns) {
      const auto [entry, is_new] = known.try_emplace({y.taps, x.taps});
      if (is_new) {
        entry->second.first = ToInt32(static_cast<int64_t>(t.reach.size()));
        for (const auto& [ky, oy] : y.taps) {
          for (const auto& [kx, ox] : x.taps) {
            t.reach.push_back({ToInt32((int64_t{ky} * kernel_w + kx) * sets),
                               ToInt32((oy * out_w + ox) * width)});
          }
        }
        entry->second.second = ToInt32(static_cast<int64_t>(t.reach.size()));
      }
      t.reach_q.push_back({entry->second.first, entry->second.second,
                           ToInt32((y.first * out_w + x.first) * width)});
    }
  }
  t.order_q.resize(t.reach_q.size());
  std::iota(t.order_q.begin(), t.order_q.end(), 0);
  std::stable_sort(t.order_q.begin(), t.order_q.end(), [&](int32_t a, int32_t b) {
    const PositionReach &of_a = t.reach_q[static_cast<size_t>(a)],
                        &of_b = t.reach_q[static_cast<size_t>(b)];
    return of_a.end - of_a.begin < of_b.end - of_b.begin;
  });
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
  ListReach(ReachOf({input.height, output.height, k.kernel_h, window.stride_h, window.pad_h,
                     window.dilation_h}),
            ReachOf({input.width, output.width, k.kernel_w, window.stride_w, window.pad_w,
                     window.dilation_w}),
            k.kernel_w, sets, output.width, width, t);
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
               .reach = t.reach.data(),
               .reach_q = t.reach_q.data(),
               .order_q = t.order_q.data()};
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
