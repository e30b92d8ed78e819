// SPDX-License-Identifier: Apache-2.0
// Packed convolutions, every form, against the formula in double on every instruction set: shapes,
// strides, padding, owners aligned with the k-WTA's groups and not; guards; the same bits for every
// split into row ranges.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "deploy/base/test_seed.h"
#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/conv/conv_packed_tile.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

using packed::RunTaps;

struct Case {
  Shape input;
  packed::Window window;
  int32_t outputs;
  packed::Packing packing;
  KwtaF32Args kwta;  ///< winners, groups, chunk, global of the layer before it
};

Shape OutputShape(const Case& c) { return packed::WindowOutput(c.input, c.window, c.outputs); }

std::string Text(const Case& c, const RandomLayer& layer) {
  const packed::Window& w = c.window;
  return layer.Text() + ", input, stride, pad = " +
         testing::PrintToString(std::vector<int>{c.input.height, c.input.width, w.stride_h,
                                                 w.stride_w, w.pad_h, w.pad_w}) +
         ", k-WTA winners, groups, chunk, global = " +
         testing::PrintToString(
             std::vector<int>{c.kwta.winners, c.kwta.groups, c.kwta.chunk, c.kwta.global});
}

/// Runs `args` whole and by row ranges, compares with the formula on the map x.
template <class Args, class Kernel>
void CheckKernel(const Case& c, const RandomLayer& layer, const float* x, Args args, Kernel kernel,
                 Random& random) {
  SCOPED_TRACE(ConvPackedFormName(args.plan.form));
  const Shape out = OutputShape(c);
  const int64_t stride = out.channels + random.Int(0, 2);
  const int64_t floats = (int64_t{out.height} * out.width - 1) * stride + out.channels;
  Guarded<float> y(floats), pieces(floats), scratch(ConvPackedScratchFloats(args.plan));
  args.output_stride = stride;
  args.scratch = scratch.data();
  args.output = y.data();
  args.row_begin = 0;
  args.row_end = out.height;
  kernel(args);
  ASSERT_TRUE(y.Intact() && scratch.Intact());
  args.output = pieces.data();
  for (args.row_begin = 0; args.row_begin < out.height; args.row_begin = args.row_end) {
    args.row_end = random.Int(args.row_begin, out.height);
    Guarded<float> fresh(ConvPackedScratchFloats(args.plan));
    args.scratch = fresh.data();
    kernel(args);
    ASSERT_TRUE(fresh.Intact());
  }
  ASSERT_TRUE(pieces.Intact());
  for (int64_t i = 0; i < floats; ++i)
    ASSERT_EQ(y[i], pieces[i]) << "differs when split, float " << i;
  for (int32_t position = 0; position < out.height * out.width; ++position) {
    const int32_t oy = position / out.width, ox = position % out.width;
    for (int32_t o = 0; o < out.channels; ++o) {
      const Exact exact = ExactOutput(layer, c.window, c.input, x, oy, ox, o);
      ASSERT_NEAR(y[position * stride + o], exact.value, exact.bound)
          << "output (" << oy << ", " << ox << ", " << o << ")";
    }
    for (int64_t o = out.channels; o < stride && position + 1 < out.height * out.width; ++o) {
      ASSERT_EQ(y[position * stride + o], -12345.0f) << "between positions";
    }
  }
}

/// Runs the layer on a dense map and on winners; returns the winners' form.
ConvPackedForm Check(const Case& c, Random& random) {
  const RandomLayer layer({.outputs = c.outputs,
                           .channels = c.input.channels,
                           .kernel_h = c.window.kernel_h,
                           .kernel_w = c.window.kernel_w},
                          c.packing, random);
  SCOPED_TRACE(Text(c, layer));
  std::vector<float> x = random.Normals(c.input.elements());
  const PreparedConv dense =
      PrepareConvPackedDenseF32(layer.layout, c.window, c.input, OutputShape(c), layer.owner_nr,
                                layer.weight_pnl, layer.bias_o);
  CheckKernel(c, layer, x.data(), ConvPackedDenseF32Args{.plan = dense.plan, .input = x.data()},
              ConvPackedDenseF32, random);
  KwtaF32Args kwta = c.kwta;
  kwta.x = x.data();
  kwta.positions = c.input.height * c.input.width;
  kwta.channels = c.input.channels;
  const int64_t count = KwtaCountF32(kwta);
  std::vector<int32_t> index_k(static_cast<size_t>(count + kKwtaSlack)),
      begin_p(static_cast<size_t>(kwta.positions + 1));
  std::vector<float> value_k(index_k.size()), scratch(static_cast<size_t>(KwtaScratchFloats(kwta)));
  kwta.index_k = index_k.data();
  kwta.value_k = value_k.data();
  kwta.begin_p = begin_p.data();
  kwta.scratch = scratch.data();
  KwtaF32(kwta);
  // The kernel must not read past the last winner: no slack here.
  const std::vector<int32_t> index(index_k.begin(), index_k.begin() + count);
  const std::vector<float> value(value_k.begin(), value_k.begin() + count);
  ScatterWinnersF32(index.data(), value.data(), count, x.data(), static_cast<int64_t>(x.size()));
  const int32_t per_position = kwta.global ? 0 : kwta.winners * kwta.chunk;
  const PreparedConv sparse =
      PrepareConvPackedWinnersF32(layer.layout, c.window, c.input, OutputShape(c),
                                  {.per_position = per_position, .groups = kwta.groups},
                                  layer.owner_nr, layer.weight_pnl, layer.bias_o);
  CheckKernel(
      c, layer, x.data(),
      ConvPackedWinnersF32Args{.plan = sparse.plan,
                               .winners = {.index_k = index.data(),
                                           .value_k = value.data(),
                                           .count = count,
                                           .per_position = per_position,
                                           .begin_p = kwta.global ? begin_p.data() : nullptr}},
      ConvPackedWinnersF32, random);
  return sparse.plan.form;
}

TEST(ConvPackedF32, TilesCoverEveryWidth) {
  for (int32_t columns = 1; columns <= 100; ++columns) {
    const int32_t tile = ChooseTileColumns(columns);
    int32_t covered = 0;
    for (int32_t x = 0; x < columns; x = NextTile(x, tile, columns)) {
      ASSERT_LE(x, covered);
      covered = x + tile;
    }
    ASSERT_EQ(covered, columns);
  }
}

TEST(ConvPackedF32, SpeechNetworkAligned) {
  ForEachIsa([] {
    Random random(1);
    for (const RunTaps taps : {RunTaps::kOne, RunTaps::kRow, RunTaps::kAll}) {
      const Case c{.input = {14, 14, 64},
                   .window = {.kernel_h = 5, .kernel_w = 5},
                   .outputs = 64,
                   .packing = {.set_size = 4, .lanes = 16, .run = {.channels = 8, .taps = taps}},
                   .kwta = {.winners = 8, .groups = 8}};
      EXPECT_EQ(Check(c, random), taps == RunTaps::kOne ? ConvPackedForm::kAlignedTaps
                                                        : ConvPackedForm::kAlignedRows);
    }
  });
}

TEST(ConvPackedF32, PaperConvolutions) {
  ForEachIsa([] {
    Random random(2);
    Check({.input = {32, 32, 1},
           .window = {.kernel_h = 5, .kernel_w = 5},
           .outputs = 64,
           .packing = {.set_size = 3, .lanes = 1},
           .kwta = {.winners = 1}},
          random);
    EXPECT_EQ(Check({.input = {14, 14, 64},
                     .window = {.kernel_h = 5, .kernel_w = 5},
                     .outputs = 64,
                     .packing = {.set_size = 8, .lanes = 1},
                     .kwta = {.winners = 8}},
                    random),
              ConvPackedForm::kScattered);
  });
}

TEST(ConvPackedF32, EveryOutputWidthAndKernelCount) {
  ForEachIsa([] {
    Random random(3);
    for (int32_t width = 1; width <= 67; ++width) {
      for (const int32_t lanes : {1, 4, 16}) {
        Check({.input = {3, width, 8},
               .window = {.kernel_h = 2, .kernel_w = 3, .pad_w = 1},
               .outputs = width,
               .packing = {.set_size = 2,
                           .lanes = lanes,
                           .run = {.channels = 4, .taps = RunTaps::kRow}},
               .kwta = {.winners = 2, .groups = 2}},
              random);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(ConvPackedF32, RandomShapes) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    std::set<ConvPackedForm> forms;
    for (int trial = 0; trial < 400; ++trial) {
      Case c;
      c.kwta.groups = random.Int(1, 4);
      c.kwta.chunk = random.Int(0, 2) ? 1 : 2;
      const int32_t units = random.Int(1, 5), width = units * c.kwta.chunk;
      c.kwta.global = random.Int(0, 3) == 0;
      c.kwta.winners = c.kwta.groups * random.Int(1, units);
      c.window = {.kernel_h = random.Int(1, 5),
                  .kernel_w = random.Int(0, 1) ? random.Int(1, 3) * 2 - 1 : random.Int(1, 6),
                  .stride_h = random.Int(1, 3),
                  .stride_w = random.Int(0, 1) ? 1 : random.Int(1, 3)};
      c.window.pad_h = random.Int(0, c.window.kernel_h - 1);
      c.window.pad_w = random.Int(0, c.window.kernel_w - 1);
      if (random.Int(0, 2) == 0) {
        c.window.dilation_h = random.Int(1, 3);
        c.window.dilation_w = random.Int(1, 3);
      }
      const auto size = [&](int64_t extent, int32_t pad, int32_t more) {
        return std::max(1, static_cast<int32_t>(extent) - 2 * pad) + random.Int(0, more);
      };
      c.input = {size(c.window.extent_h(), c.window.pad_h, 6),
                 size(c.window.extent_w(), c.window.pad_w, 16), c.kwta.groups * width};
      c.outputs = random.Int(1, 70);
      constexpr int32_t kLanes[] = {1, 2, 3, 4, 7, 8, 12, 16, 16, 16};
      c.packing = {
          .set_size = random.Int(1, 5),
          .lanes = kLanes[random.Int(0, 9)],
          .run = {.channels = random.Int(0, 2) ? width * random.Int(1, 2) : random.Int(1, 7),
                  .taps = static_cast<RunTaps>(random.Int(0, 2))}};
      SCOPED_TRACE("trial " + std::to_string(trial));
      forms.insert(Check(c, random));
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(forms.size(), 3u) << "a form was never chosen";
  });
}

TEST(ConvPackedF32, CountsMultiplications) {
  Random random(5);
  const RandomLayer layer(
      {.outputs = 64, .channels = 64, .kernel_h = 5, .kernel_w = 5},
      {.set_size = 4, .lanes = 16, .run = {.channels = 8, .taps = RunTaps::kRow}}, random);
  const PreparedConv dense =
      PrepareConvPackedDenseF32(layer.layout, {.kernel_h = 5, .kernel_w = 5}, {14, 14, 64},
                                {10, 10, 64}, layer.owner_nr, layer.weight_pnl, layer.bias_o);
  EXPECT_EQ(dense.macs_per_map, 100 * 25 * 64 * 64 / 4);
  const PreparedConv sparse = PrepareConvPackedWinnersF32(
      layer.layout, {.kernel_h = 5, .kernel_w = 5}, {14, 14, 64}, {10, 10, 64},
      {.per_position = 8, .groups = 8}, layer.owner_nr, layer.weight_pnl, layer.bias_o);
  EXPECT_EQ(sparse.macs_per_map, 100 * 25 * 8 * 16);
}

}  // namespace
}  // namespace bisparse::kernels
