// SPDX-License-Identifier: Apache-2.0
// conv_quads_i8 against sums in int64 over random aligned layers: winners and whole maps, padding, odd
// sizes, every instruction set. Integers: no tolerance.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/test_seed.h"
#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/ops/kwta/kwta_u8.h"
#include "deploy/ops/shared/packed_ref.h"
#include "deploy/simd/cpu.h"

namespace bisparse::kernels {
namespace {

struct Case {
  Shape input;
  packed::Window window;
  int32_t outputs, set_size, run_channels;
  packed::RunTaps taps;
  int32_t winners, groups;  ///< winners 0: the whole map
  bool pool = false;
  int32_t lanes = 16;
};

/// How a layer was computed.
struct Form {
  bool gathered = false, by_sets = false;
};

/// Memory with a guard after it.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : bytes_(static_cast<size_t>(bytes)), buffer_(bytes_ + kGuard) {
    std::fill(buffer_.begin() + bytes_, buffer_.end(), kMark);
  }
  uint8_t* data() { return buffer_.data(); }
  bool Intact() const {
    return std::all_of(buffer_.begin() + bytes_, buffer_.end(),
                       [](uint8_t byte) { return byte == kMark; });
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr uint8_t kMark = 0xC5;
  size_t bytes_;
  AlignedBuffer<uint8_t> buffer_;
};

void Check(const Case& c, Random& random, Form* form = nullptr) {
  const RandomLayer made({.outputs = c.outputs,
                          .channels = c.input.channels,
                          .kernel_h = c.window.kernel_h,
                          .kernel_w = c.window.kernel_w},
                         {.set_size = c.set_size,
                          .lanes = c.lanes,
                          .run = {.channels = c.run_channels, .taps = c.taps}},
                         random);
  SCOPED_TRACE(made.Text() + ", winners, groups, pad = " +
               testing::PrintToString(std::vector<int>{c.winners, c.groups, c.window.pad_h}));
  const packed::Layout& layout = made.layout;
  std::vector<int8_t> weight(made.weight_pnl.size());
  const long most = random.Int(0, 1) ? 127 : packed::kNarrowWeight;
  for (size_t i = 0; i < weight.size(); ++i) {
    weight[i] = static_cast<int8_t>(
        std::clamp(std::lround(made.weight_pnl[i] * static_cast<float>(most)), -most, most));
  }
  std::vector<int32_t> bias(static_cast<size_t>(layout.outputs_padded()));
  std::vector<uint8_t> shift(bias.size());
  for (int32_t o = 0; o < c.outputs; ++o) {
    bias[static_cast<size_t>(o)] = random.Int(-5000, 5000);
    shift[static_cast<size_t>(o)] = static_cast<uint8_t>(random.Int(0, 9));
  }
  packed::Layer layer;
  layer.kind = packed::LayerKind::kConv2d;
  layer.input = c.input;
  layer.output = packed::WindowOutput(c.input, c.window, c.outputs);
  layer.window = c.window;
  layer.packing = layout.packing;
  layer.owner_nr = made.owner_nr;
  layer.weight_i8_pnl = weight;
  layer.bias_i32_o = bias;
  layer.shift_o = shift;

  std::vector<uint8_t> x(static_cast<size_t>(c.input.elements()));
  const int32_t least = random.Int(0, 1) ? 255 : 0;  // the largest sums, or any
  for (uint8_t& value : x) value = static_cast<uint8_t>(random.Int(least, 255));
  std::vector<int32_t> index;
  std::vector<uint8_t> value = x;
  const int32_t positions = c.input.height * c.input.width;
  if (c.winners > 0) {
    index.resize(static_cast<size_t>(positions * c.winners + kKwtaSlack));
    value.resize(index.size());
    KwtaU8({.x = x.data(),
            .positions = positions,
            .channels = c.input.channels,
            .winners = c.winners,
            .groups = c.groups,
            .index_k = index.data(),
            .value_k = value.data()});
    ScatterWinnersU8(index.data(), value.data(), int64_t{positions} * c.winners, x.data(),
                     c.input.elements());
  }
  const auto zero = static_cast<uint8_t>(c.winners > 0 ? 0 : random.Int(0, 255));
  const int32_t slots = c.winners > 0 ? c.winners : c.input.channels;
  const auto conv =
      PrepareConvQuadsI8(layer, slots, c.winners > 0 ? c.groups : slots, zero, c.pool);
  ASSERT_TRUE(conv.has_value());
  if (form != nullptr) *form = {conv->gathered, conv->by_sets};
  const int32_t step = c.pool ? 2 : 1;
  const int32_t out_h = layer.output.height / step, out_w = layer.output.width / step;
  Guarded<uint8_t> y(int64_t{out_h} * out_w * c.outputs);
  Scratch scratch(conv->shared_bytes()), rows(conv->rows_bytes());
  ConvQuadsI8Args args{.conv = &*conv,
                       .index_k = c.winners > 0 ? index.data() : nullptr,
                       .value_k = value.data(),
                       .output = y.data(),
                       .scratch = scratch.data(),
                       .rows = rows.data()};
  std::vector<uint16_t> line;
  if (conv->reads_in_place() && c.winners > 0 && random.Int(0, 1)) {
    for (const int32_t i : index) {
      line.push_back(static_cast<uint16_t>(i % c.input.channels * conv->channel_step));
    }
    args.index_k = nullptr;
    args.line_k = line.data();
  }
  ConvQuadsI8FindLines(args);
  const int32_t grain = conv->grain();  // one part is empty at times
  const int32_t cut = random.Int(0, (c.outputs + grain - 1) / grain) * grain;
  args.output_begin = cut;
  ConvQuadsI8Run(args);
  args.output_begin = 0;
  args.output_end = cut;
  ConvQuadsI8Run(args);
  ASSERT_TRUE(y.Intact() && scratch.Intact() && rows.Intact());

  const auto sum_at = [&](int32_t oy, int32_t ox, int32_t o) {
    const auto [n, s, l] = layout.PlaceOf(o);
    int64_t sum = bias[static_cast<size_t>(o)];
    for (int64_t p = 0; p < layout.positions; ++p) {
      const int64_t kx = p % c.window.kernel_w, ky = p / c.window.kernel_w % c.window.kernel_h;
      const int64_t channel = p / c.window.kernel_w / c.window.kernel_h;
      const int64_t iy = oy + ky * c.window.dilation_h - c.window.pad_h;
      const int64_t ix = ox + kx * c.window.dilation_w - c.window.pad_w;
      if (made.Owner(n, p) != s) continue;
      const bool inside = iy >= 0 && iy < c.input.height && ix >= 0 && ix < c.input.width;
      const int64_t at = (iy * c.input.width + ix) * c.input.channels + channel;
      sum += int64_t{weight[static_cast<size_t>(layout.Slot(p, n, l))]} *
             (inside ? x[static_cast<size_t>(at)] : zero);
    }
    const int32_t bits = shift[static_cast<size_t>(o)];
    return (sum + (bits > 0 ? int64_t{1} << (bits - 1) : 0)) >> bits;
  };
  int64_t at = 0;
  for (int32_t py = 0; py < out_h; ++py) {
    for (int32_t px = 0; px < out_w; ++px) {
      for (int32_t o = 0; o < c.outputs; ++o, ++at) {
        int64_t largest = 0;
        for (int32_t i = 0; i < step * step; ++i) {
          largest = std::max(largest, sum_at(py * step + i / 2, px * step + i % 2, o));
        }
        ASSERT_EQ(y[at], std::min<int64_t>(largest, 255))
            << "output (" << py << ", " << px << ", " << o << ")";
      }
    }
  }
}

TEST(ConvQuadsI8, SpeechNetwork) {
  ForEachIsa([] {
    Random random(1);
    Check({{14, 14, 64},
           {.kernel_h = 5, .kernel_w = 5},
           64,
           4,
           32,
           packed::RunTaps::kRow,
           8,
           8,
           true},
          random);
  });
}

TEST(ConvQuadsI8, OneTapOfFourSets) {
  ForEachIsa([] {
    Random random(2);
    for (const int32_t outputs : {384, 380, 500, 768}) {
      for (const int32_t kernel_h : {1, 3}) {
        const packed::Window window{.kernel_h = kernel_h, .kernel_w = 1, .pad_h = kernel_h / 2};
        for (const int32_t winners : {32, 0}) {
          Form form;
          Check({{5, 3, 128}, window, outputs, 6, 16, packed::RunTaps::kRow, winners, 32}, random,
                &form);
          // 500: six sets, which fill no line.
          EXPECT_EQ(form.by_sets, outputs != 500 || !IsaName().starts_with("AVX3"));
        }
      }
    }
  });
}

TEST(ConvQuadsI8, SingleGroupsAndEightLanesAreGathered) {
  ForEachIsa([] {
    Random random(4);
    const packed::Window window{.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1};
    for (const int32_t lanes : {16, 8}) {
      for (const bool pool : {false, true}) {
        Form form;
        Check({{9, 13, 64}, window, 70, 8, 8, packed::RunTaps::kRow, 8, 8, pool, lanes}, random,
              &form);
        EXPECT_TRUE(form.gathered);
      }
    }
  });
}

TEST(ConvQuadsI8, PlacesReachSixteenBits) {
  ForEachIsa([] {
    Random random(5);
    const packed::Window window{.kernel_h = 3, .kernel_w = 1, .pad_h = 1};
    Check({{3, 2, 5460}, window, 9, 2, 1365, packed::RunTaps::kRow, 4, 4, false, 8}, random);
  });
}

TEST(ConvQuadsI8, RandomAlignedLayers) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 150; ++trial) {
      SCOPED_TRACE("trial " + std::to_string(trial));
      Case c;
      c.window = {.kernel_h = random.Int(1, 5), .kernel_w = random.Int(0, 2) * 2 + 1};
      c.window.pad_h = random.Int(0, 2);
      c.window.pad_w = random.Int(0, 2);
      if (random.Int(0, 2) == 0) {
        c.window.dilation_h = random.Int(1, 3);
        c.window.dilation_w = random.Int(1, 3);
        if (c.window.dilation_w > 1) c.window.kernel_w = random.Int(1, 6);
      }
      // Runs of whole quads: four groups of `width` channels.
      const int32_t width = random.Int(1, 5), quads = random.Int(1, 3);
      c.groups = quads * 4;
      c.input = {static_cast<int32_t>(c.window.extent_h()) + random.Int(0, 6),
                 static_cast<int32_t>(c.window.extent_w()) + random.Int(0, 15), c.groups * width};
      c.outputs = random.Int(1, random.Int(0, 2) ? 70 : 400);
      c.set_size = random.Int(1, 9);
      c.run_channels = (random.Int(0, 1) ? 4 : 1) * width * random.Int(1, 2);
      c.lanes = random.Int(0, 1) ? 16 : 8;
      c.taps = random.Int(0, 1) ? packed::RunTaps::kRow : packed::RunTaps::kAll;
      c.winners = random.Int(0, 2) == 0 ? 0 : c.groups * (random.Int(0, 3) == 0 ? width : 1);
      if (c.winners == 0) c.run_channels = (random.Int(0, 1) ? 4 : 1) * random.Int(1, 3);
      const Shape out = packed::WindowOutput(c.input, c.window, c.outputs);
      c.pool = out.height > 1 && out.width > 1 && random.Int(0, 1);
      Check(c, random);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(ConvQuadsI8, IsNotOfferedWhereAWinnerDecidesTheOwner) {
  Random random(3);
  const RandomLayer made(
      {.outputs = 32, .channels = 32, .kernel_h = 3, .kernel_w = 3},
      {.set_size = 2, .lanes = 16, .run = {.channels = 1, .taps = packed::RunTaps::kRow}}, random);
  packed::Layer layer;
  layer.kind = packed::LayerKind::kConv2d;
  layer.input = {8, 8, 32};
  layer.output = {6, 6, 32};
  layer.window = {.kernel_h = 3, .kernel_w = 3};
  layer.packing = made.layout.packing;
  layer.owner_nr = made.owner_nr;
  const std::vector<uint8_t> shift(32);
  layer.shift_o = shift;
  EXPECT_FALSE(PrepareConvQuadsI8(layer, 4, 4, 0, false).has_value());
}

}  // namespace
}  // namespace bisparse::kernels
