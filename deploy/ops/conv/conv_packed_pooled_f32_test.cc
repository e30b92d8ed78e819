// SPDX-License-Identifier: Apache-2.0
// The pooled convolution gives the bits of the convolution in columns with max_pool_f32 after it
// (both sum an output's products in the order of its list); conv_packed_f32_test.cc compares that
// convolution with the formula. Its winners are those of kwta_f32 on that map. All L, strides, padding, odd sizes, row ranges, on every
// instruction set.
#include <gtest/gtest.h>

#include "deploy/base/test_seed.h"
#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

/// The winners are those of KwtaF32 on the pooled map, whatever the split into rows.
void CheckWinners(ConvPackedDenseF32Args args, const Shape& out, const std::vector<float>& map,
                  Random& random) {
  const int32_t width = random.Int(1, std::min(16, out.channels));
  if (out.channels % width != 0) return;
  KwtaF32Args kwta{.x = map.data(),
                   .positions = out.height * out.width,
                   .channels = out.channels,
                   .winners = out.channels / width,
                   .groups = out.channels / width};
  ASSERT_TRUE(CanPoolWinnersF32(args.plan, kwta));
  const int64_t count = KwtaCountF32(kwta);
  std::vector<int32_t> index_k(static_cast<size_t>(count + kKwtaSlack));
  std::vector<float> value_k(index_k.size());
  std::vector<float> scratch(static_cast<size_t>(KwtaScratchFloats(kwta)));
  kwta.index_k = index_k.data();
  kwta.value_k = value_k.data();
  kwta.scratch = scratch.data();
  KwtaF32(kwta);
  Guarded<int32_t> index(count);
  Guarded<float> value(count);
  for (args.row_begin = 0; args.row_begin < out.height; args.row_begin = args.row_end) {
    args.row_end = random.Int(0, 2) == 0 ? random.Int(args.row_begin, out.height) : out.height;
    ConvPackedPooledWinnersF32(
        args, {.groups = kwta.groups, .index_k = index.data(), .value_k = value.data()});
  }
  ASSERT_TRUE(index.Intact() && value.Intact());
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(index[i], index_k[static_cast<size_t>(i)]) << "winner " << i << ", group " << width;
    ASSERT_EQ(value[i], value_k[static_cast<size_t>(i)]) << "winner " << i << ", group " << width;
  }
}

struct Case {
  Shape input;
  packed::Window window;
  int32_t outputs;
  packed::Packing packing;
};

void Check(const Case& c, Random& random) {
  const packed::Window& w = c.window;
  const RandomLayer layer({.outputs = c.outputs,
                           .channels = c.input.channels,
                           .kernel_h = w.kernel_h,
                           .kernel_w = w.kernel_w},
                          c.packing, random);
  SCOPED_TRACE(layer.Text() + ", input, stride, pad = " +
               testing::PrintToString(std::vector<int>{c.input.height, c.input.width, w.stride_h,
                                                       w.stride_w, w.pad_h, w.pad_w}));
  const Shape conv = packed::WindowOutput(c.input, w, c.outputs);
  const Shape out{conv.height / 2, conv.width / 2, conv.channels};
  const std::vector<float> x = random.Normals(c.input.elements());

  const auto pooled = PrepareConvPackedPooledF32(layer.layout, w, c.input, conv, layer.owner_nr,
                                                 layer.weight_pnl, layer.bias_o);
  ASSERT_TRUE(pooled.has_value());
  Guarded<float> y(out.elements()), pieces(out.elements());
  Guarded<float> scratch(ConvPackedScratchFloats(pooled->plan));
  ConvPackedDenseF32Args args{.plan = pooled->plan,
                              .input = x.data(),
                              .output = y.data(),
                              .output_stride = out.channels,
                              .row_begin = 0,
                              .row_end = out.height,
                              .scratch = scratch.data()};
  const auto run = args.plan.form == ConvPackedForm::kPooledLanes ? ConvPackedPooledLanesF32
                                                                  : ConvPackedPooledF32;
  EXPECT_EQ(args.plan.form == ConvPackedForm::kPooledLanes, c.packing.lanes == 16);
  run(args);
  ASSERT_TRUE(y.Intact() && scratch.Intact());
  args.output = pieces.data();
  for (args.row_begin = 0; args.row_begin < out.height; args.row_begin = args.row_end) {
    args.row_end = random.Int(args.row_begin, out.height);
    Guarded<float> fresh(ConvPackedScratchFloats(pooled->plan));
    args.scratch = fresh.data();
    run(args);
    ASSERT_TRUE(fresh.Intact() && pieces.Intact());
  }

  const PreparedConv dense = PrepareConvPackedDenseF32(
      layer.layout, w, c.input, conv, layer.owner_nr, layer.weight_pnl, layer.bias_o);
  std::vector<float> map(static_cast<size_t>(conv.elements())),
      expected(static_cast<size_t>(out.elements())),
      dense_scratch(static_cast<size_t>(ConvPackedScratchFloats(dense.plan)));
  ConvPackedDenseF32({.plan = dense.plan,
                      .input = x.data(),
                      .output = map.data(),
                      .output_stride = conv.channels,
                      .row_begin = 0,
                      .row_end = conv.height,
                      .scratch = dense_scratch.data()});
  const PoolShape pool{.in_h = conv.height,
                       .in_w = conv.width,
                       .channels = conv.channels,
                       .kernel_h = 2,
                       .kernel_w = 2,
                       .stride_h = 2,
                       .stride_w = 2};
  MaxPoolF32(pool, map.data(), 0, out.height, expected.data());
  for (int64_t i = 0; i < out.elements(); ++i) {
    ASSERT_EQ(y[i], expected[static_cast<size_t>(i)]) << "element " << i;
    ASSERT_EQ(y[i], pieces[i]) << "differs when split, element " << i;
  }
  if (args.plan.form == ConvPackedForm::kPooledColumns) {
    args.scratch = scratch.data();
    for (int trial = 0; trial < 8; ++trial) CheckWinners(args, out, expected, random);
  }
}

TEST(ConvPackedPooledF32, SpeechNetwork) {
  ForEachIsa([] {
    Random random(1);
    for (const int32_t lanes : {1, 16}) {
      Check({.input = {32, 32, 1},
             .window = {.kernel_h = 5, .kernel_w = 5},
             .outputs = 64,
             .packing = {.set_size = 3, .lanes = lanes}},
            random);
    }
  });
}

TEST(ConvPackedPooledF32, RandomShapes) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 300; ++trial) {
      SCOPED_TRACE("trial " + std::to_string(trial));
      Case c;
      c.window = {.kernel_h = random.Int(1, 4),
                  .kernel_w = random.Int(1, 4),
                  .stride_h = random.Int(1, 2),
                  .stride_w = random.Int(1, 2)};
      c.window.pad_h = random.Int(0, c.window.kernel_h - 1);
      c.window.pad_w = random.Int(0, c.window.kernel_w - 1);
      // At least two rows and columns before the pool.
      c.input = {c.window.kernel_h + c.window.stride_h + random.Int(0, 4),
                 c.window.kernel_w + c.window.stride_w + random.Int(0, 40), 1};
      if (c.input.width < 24) c.input.channels = 2;  // what L1 is taken to hold
      c.outputs = random.Int(1, 21);
      c.packing = {.set_size = random.Int(1, 4),
                   .lanes = random.Int(1, 3) == 1 ? random.Int(1, 16) : random.Int(0, 1) * 15 + 1,
                   .run = {.channels = 1, .taps = static_cast<packed::RunTaps>(random.Int(0, 2))}};
      Check(c, random);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(ConvPackedPooledF32, IsNotOfferedWhereShiftedRowsOutgrowL1) {
  Random random(3);
  const Shape input{32, 32, 64}, output{28, 28, 8};
  const RandomLayer layer({.outputs = 8, .channels = 64, .kernel_h = 5, .kernel_w = 5},
                          {.set_size = 2, .lanes = 1}, random);
  EXPECT_FALSE(PrepareConvPackedPooledF32(layer.layout, {.kernel_h = 5, .kernel_w = 5}, input,
                                          output, layer.owner_nr, layer.weight_pnl, layer.bias_o)
                   .has_value());
}

}  // namespace
}  // namespace bisparse::kernels
