// SPDX-License-Identifier: Apache-2.0
// conv_taps_i8 against the largest of four sums in int64, on every instruction set.
#include "deploy/ops/conv/conv_taps_i8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "deploy/base/test_seed.h"
#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

/// The winners of groups of 8 or 16 channels against those of the map.
void CheckWinners(const ConvTapsI8& conv, const uint8_t* x, const uint8_t* map, uint8_t* scratch) {
  const int64_t count = conv.output.elements() / conv.group;
  const int32_t step = 7;
  Guarded<uint8_t> value(count), value_again(count);
  Guarded<int32_t> index(count);
  Guarded<uint16_t> line(count);
  ConvTapsI8Run({.conv = &conv,
                 .input = x,
                 .value_k = value.data(),
                 .index_k = index.data(),
                 .scratch = scratch});
  ConvTapsI8Run({.conv = &conv,
                 .input = x,
                 .value_k = value_again.data(),
                 .line_k = line.data(),
                 .line_step = step,
                 .scratch = scratch});
  ASSERT_TRUE(value.Intact() && value_again.Intact() && index.Intact() && line.Intact());
  for (int64_t k = 0; k < count; ++k) {
    const uint8_t* group = map + k * conv.group;
    const int64_t best = k * conv.group + (std::max_element(group, group + conv.group) - group);
    ASSERT_EQ(index[k], best) << "winner " << k;
    ASSERT_EQ(line[k], best % conv.output.channels * step) << "winner " << k;
    ASSERT_EQ(value[k], map[best]) << "winner " << k;
    ASSERT_EQ(value_again[k], map[best]) << "winner " << k;
  }
}

void Check(const Shape& input, const packed::Window& window, int32_t outputs,
           const packed::Packing& packing, bool dense, int32_t group, Random& random) {
  const bool pool = window.stride_h == 1 && random.Int(0, 2) > 0;
  const RandomLayer made(
      {.outputs = outputs, .channels = 1, .kernel_h = window.kernel_h, .kernel_w = window.kernel_w},
      packing, random);
  SCOPED_TRACE(made.Text());
  const packed::Layout& layout = made.layout;
  std::vector<int8_t> weight(made.weight_pnl.size());
  for (size_t i = 0; i < weight.size(); ++i) {
    weight[i] = static_cast<int8_t>(std::clamp(std::lround(made.weight_pnl[i] * 60), -127L, 127L));
  }
  std::vector<int32_t> bias(static_cast<size_t>(layout.outputs_padded()));
  std::vector<uint8_t> shift(bias.size());
  for (int32_t o = 0; o < outputs; ++o) {
    bias[static_cast<size_t>(o)] = random.Int(-3000, 3000);
    shift[static_cast<size_t>(o)] = static_cast<uint8_t>(random.Int(0, 8));
  }
  packed::Layer layer;
  layer.kind = packed::LayerKind::kConv2d;
  layer.input = input;
  layer.output = packed::WindowOutput(input, window, outputs);
  layer.window = window;
  layer.packing = packing;
  layer.owner_nr = made.owner_nr;
  layer.weight_i8_pnl = weight;
  layer.bias_i32_o = bias;
  layer.shift_o = shift;
  const int32_t windows = pool ? 4 : 1, step = pool ? 2 : window.stride_h;
  const Shape y_shape =
      pool ? Shape{layer.output.height / 2, layer.output.width / 2, outputs} : layer.output;
  const uint8_t zero = static_cast<uint8_t>(random.Int(0, 255));
  const auto conv = PrepareConvTapsI8(layer, pool, zero, dense, group);
  ASSERT_TRUE(conv.has_value());
  std::vector<uint8_t> x(static_cast<size_t>(input.elements()));
  for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
  Guarded<uint8_t> y(y_shape.elements());
  AlignedBuffer<uint8_t> scratch(static_cast<size_t>(conv->scratch_bytes()));
  ConvTapsI8Run({.conv = &*conv, .input = x.data(), .output = y.data(), .scratch = scratch.data()});
  ASSERT_TRUE(y.Intact());
  for (int64_t e = 0; e < y_shape.elements(); ++e) {
    const int64_t o = e % outputs, px = e / outputs % y_shape.width,
                  py = e / outputs / y_shape.width;
    const auto [n, s, l] = layout.PlaceOf(o);
    int64_t largest = INT64_MIN;
    for (int64_t place = 0; place < windows; ++place) {
      int64_t sum = bias[static_cast<size_t>(o)];
      for (int64_t p = 0; p < layout.positions; ++p) {
        if (made.Owner(n, p) != s) continue;
        const int64_t iy = step * py + place / 2 + p / window.kernel_w - window.pad_h;
        const int64_t ix = step * px + place % 2 + p % window.kernel_w - window.pad_w;
        const bool inside = iy >= 0 && iy < input.height && ix >= 0 && ix < input.width;
        const int64_t in = inside ? x[static_cast<size_t>(iy * input.width + ix)] : zero;
        sum += in * weight[static_cast<size_t>(layout.Slot(p, n, l))];
      }
      largest = std::max(largest, sum);
    }
    const int32_t bits = shift[static_cast<size_t>(o)];
    largest = (largest + (bits > 0 ? int64_t{1} << (bits - 1) : 0)) >> bits;
    ASSERT_EQ(y[e], std::clamp<int64_t>(largest, 0, 255))
        << "position (" << py << ", " << px << "), output " << o;
  }
  EXPECT_EQ(conv->group, outputs % 64 == 0 && outputs <= 256 ? group : 0);
  if (conv->group > 0) CheckWinners(*conv, x.data(), y.data(), scratch.data());
}

TEST(ConvTapsI8, SpeechNetworkSparseAndDense) {
  ForEachIsa([] {
    Random random(1);
    for (const bool dense : {false, true}) {
      for (const int32_t stride : {1, 2}) {
        const packed::Window w{
            .kernel_h = 5, .kernel_w = 5, .stride_h = stride, .stride_w = stride};
        Check({32, 32, 1}, w, 64, {.set_size = 3, .lanes = 1}, dense, dense ? 16 : 8, random);
        Check({32, 32, 1}, w, 64, {.set_size = 2, .lanes = 16}, dense, 8, random);
      }
    }
  });
}

TEST(ConvTapsI8, KernelsOfMoreThanThirtyTaps) {
  ForEachIsa([] {
    Random random(2);
    for (int trial = 0; trial < 10; ++trial) {  // of 49 taps, so that 33, 37 and so on come too
      Check({12, 12, 1}, {.kernel_h = 7, .kernel_w = 7}, 64,
            {.set_size = 2, .lanes = 1, .run = {.channels = 1, .taps = packed::RunTaps::kRow}},
            false, 0, random);
    }
  });
}

TEST(ConvTapsI8, RandomLayers) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 100; ++trial) {
      packed::Window w{.kernel_h = random.Int(1, 7), .kernel_w = random.Int(1, 7)};
      w.pad_h = random.Int(0, 3);
      w.pad_w = random.Int(0, 3);
      w.stride_h = w.stride_w = random.Int(1, 4);
      const Shape input{random.Int(w.kernel_h + 1, 14), random.Int(w.kernel_w + 1, 40), 1};
      const int32_t group = 8 * random.Int(0, 2);
      Check(input, w, group > 0 ? 64 * random.Int(1, 5) : random.Int(1, 150),
            {.set_size = random.Int(1, 5),
             .lanes = trial % 3 == 0 ? 16 : random.Int(1, 16),
             .run = {.channels = 1, .taps = static_cast<packed::RunTaps>(random.Int(0, 2))}},
            random.Int(0, 1), group, random);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
