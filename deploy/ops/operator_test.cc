// SPDX-License-Identifier: Apache-2.0
// The table, and the operators' definitions against numbers worked out by hand: joins in f32 and int8, and what int8 makes of
// values below 0. The zero of a signed map is 128; q − zero is written in brackets.
#include "deploy/ops/operator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "deploy/ops/shared/weights.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;

TEST(Operators, EachHasItsRow) {
  std::set<std::string> names;
  for (size_t kind = 0; kind <= static_cast<size_t>(kLastLayerKind); ++kind) {
    const Operator& op = OperatorOf(static_cast<LayerKind>(kind));
    EXPECT_EQ(static_cast<size_t>(op.kind), kind);
    EXPECT_EQ(&op, Operators()[kind]);
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_STREQ(LayerKindName(op.kind), op.name);
    const Layer layer{.kind = op.kind};
    EXPECT_EQ(op.has_weights, layer.HasWeights()) << op.name;
    EXPECT_TRUE(op.check && op.work && op.run_f32 && op.run_i8) << op.name;
    EXPECT_LE(op.most_inputs_i8, op.most_inputs) << op.name;
  }
  EXPECT_STREQ(LayerKindName(LayerKind{200}), "unknown");
}

template <class T>
struct Input {
  Shape shape;
  std::vector<T> x;
  int32_t zero = 0;
  float scale = 0;
};

std::vector<float> RunF32(const Layer& layer, const std::vector<Input<float>>& inputs,
                          double* largest = nullptr) {
  std::vector<Map<float>> maps;
  for (const Input<float>& input : inputs) maps.push_back({input.shape, input.x});
  std::vector<float> out(static_cast<size_t>(layer.output.elements()));
  double unused = 0;
  OperatorOf(layer.kind).run_f32(layer, maps, out, largest != nullptr ? *largest : unused);
  return out;
}

std::vector<int32_t> RunI8(const Layer& layer, const std::vector<Input<int32_t>>& inputs) {
  std::vector<Map<int32_t>> maps;
  for (const Input<int32_t>& input : inputs) {
    maps.push_back({input.shape, input.x, input.zero, input.scale});
  }
  std::vector<int32_t> out(static_cast<size_t>(layer.output.elements()));
  OperatorOf(layer.kind).run_i8(layer, maps, out);
  return out;
}

Layer Make(LayerKind kind, const Shape& input, const Shape& output) {
  return {.kind = kind, .name = "layer", .input = input, .output = output};
}

// 2×2×2; a row (1×2×2), a column (2×1×2) and one position (1×1×2) are repeated.
const std::vector<float> kMap = {1, 2, 3, 4, 5, 6, 7, 8};

TEST(Add, RepeatsRowsColumnsAndPositions) {
  const Layer layer = Make(LayerKind::kAdd, {2, 2, 2}, {2, 2, 2});
  double largest = 0;
  EXPECT_THAT(
      RunF32(layer, {{{2, 2, 2}, kMap}, {{2, 2, 2}, {-1, 1, -1, 1, -1, 1, -1, 1}}}, &largest),
      ElementsAre(0, 3, 2, 5, 4, 7, 6, 9));
  EXPECT_EQ(largest, 9);  // |8| + |1|
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{1, 2, 2}, {10, 20, 30, 40}}}),
              ElementsAre(11, 22, 33, 44, 15, 26, 37, 48));
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{2, 1, 2}, {10, 20, 30, 40}}}),
              ElementsAre(11, 22, 13, 24, 35, 46, 37, 48));
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{1, 1, 2}, {10, 20}}, {{1, 1, 2}, {100, 200}}}),
              ElementsAre(111, 222, 113, 224, 115, 226, 117, 228));
}

TEST(Multiply, RepeatsRowsColumnsAndPositions) {
  const Layer layer = Make(LayerKind::kMultiply, {2, 2, 2}, {2, 2, 2});
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{1, 2, 2}, {10, 20, 30, 40}}}),
              ElementsAre(10, 40, 90, 160, 50, 120, 210, 320));
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{2, 1, 2}, {1, 0, -1, 2}}}),
              ElementsAre(1, 0, 3, 0, -5, 12, -7, 16));
  EXPECT_THAT(RunF32(layer, {{{2, 2, 2}, kMap}, {{1, 1, 2}, {0.5f, 2}}, {{1, 1, 2}, {2, 2}}}),
              ElementsAre(1, 8, 3, 16, 5, 24, 7, 32));
}

// Two positions of 2, 1 and 1 channels.
TEST(Concat, PutsTheChannelsOfAPositionTogether) {
  const Layer layer = Make(LayerKind::kConcat, {1, 2, 2}, {1, 2, 4});
  EXPECT_THAT(RunF32(layer, {{{1, 2, 2}, {1, 2, 3, 4}}, {{1, 2, 1}, {5, 6}}, {{1, 2, 1}, {7, 8}}}),
              ElementsAre(1, 2, 5, 7, 3, 4, 6, 8));
}

// Scales 2·c and c: input 0 is shifted by 1; the sum has steps of c, the output of 4·c.
//   130 (2), 129: 2·2 + 129 = 133, (133 + 2) >> 2 = 33
//   100 (−28), 3: −56 + 3 = −53, (−53 + 2) >> 2 = −51 >> 2 = −13
//   129 (1), 0: 2, (2 + 2) >> 2 = 1      127 (−1), 0: −2, (−2 + 2) >> 2 = 0: half a step goes up
//   255 (127), 255: 509, 511 >> 2 = 127, 255 with a zero of 128: just fits
//   0 (−128), 0: −256, −254 >> 2 = −64
TEST(AddI8, ShiftsToACommonScaleAndRoundsOnce) {
  Layer layer = Make(LayerKind::kAdd, {1, 6, 1}, {1, 6, 1});
  layer.input_shift = {1, 0};
  layer.output_shift = 2;
  const std::vector<Input<int32_t>> inputs = {{{1, 6, 1}, {130, 100, 129, 127, 255, 0}, 128},
                                              {{1, 6, 1}, {129, 3, 0, 0, 255, 0}, 0}};
  EXPECT_THAT(RunI8(layer, inputs), ElementsAre(33, 0, 1, 0, 127, 0));
  layer.output_zero = 128;
  EXPECT_THAT(RunI8(layer, inputs), ElementsAre(161, 115, 129, 128, 255, 64));
  layer.output_shift = 0;  // no rounding; clamped on both sides
  EXPECT_THAT(RunI8(layer, inputs), ElementsAre(255, 75, 130, 126, 255, 0));
}

//   100 (−28) · 130 (2) = −56, (−56 + 4) >> 3 = −7 (of −6.5)      138 (10) · 138 (10) = 100, 104 >> 3 = 13
//   0 (−128) · 0 (−128) = 16384, 16388 >> 3 = 2048: clamped
TEST(MultiplyI8, RoundsTheProduct) {
  Layer layer = Make(LayerKind::kMultiply, {1, 3, 1}, {1, 3, 1});
  layer.output_shift = 3;
  layer.output_zero = 128;
  EXPECT_THAT(RunI8(layer, {{{1, 3, 1}, {100, 138, 0}, 128}, {{1, 3, 1}, {130, 138, 0}, 128}}),
              ElementsAre(121, 141, 255));
  layer.output_zero = 0;
  EXPECT_THAT(RunI8(layer, {{{1, 3, 1}, {100, 138, 0}, 128}, {{1, 1, 1}, {8}, 0}}),
              ElementsAre(0, 10, 0));
}

// The first input has twice the step of the output, the second half of it: 3 of its steps are 1.5, rounded up to 2.
TEST(ConcatI8, BringsEachInputToTheCommonScale) {
  Layer layer = Make(LayerKind::kConcat, {1, 1, 2}, {1, 1, 4});
  layer.input_shift = {2, 0};
  layer.output_shift = 1;
  layer.output_zero = 128;
  EXPECT_THAT(RunI8(layer, {{{1, 1, 2}, {130, 60}, 128}, {{1, 1, 2}, {3, 255}, 0}}),
              ElementsAre(132, 0, 130, 255));
}

TEST(ReluI8, CountsFromTheZeroOfItsInput) {
  const Layer layer = Make(LayerKind::kRelu, {1, 4, 1}, {1, 4, 1});
  EXPECT_THAT(RunI8(layer, {{{1, 4, 1}, {0, 127, 128, 255}, 128}}), ElementsAre(0, 0, 0, 127));
  EXPECT_THAT(RunI8(layer, {{{1, 4, 1}, {0, 127, 128, 255}, 0}}), ElementsAre(0, 127, 128, 255));
}

// Chunks of two: (−28, 32), (2, 20), (1, 30): the ranks are 32, 22 and 31.
TEST(KwtaI8, RanksAndKeepsWhatIsAboveTheZero) {
  Layer layer = Make(LayerKind::kKwta, {1, 1, 6}, {1, 1, 6});
  layer.kwta = {.winners = 2, .chunk = 2};
  EXPECT_THAT(RunI8(layer, {{{1, 1, 6}, {100, 160, 130, 148, 129, 158}, 128}}),
              ElementsAre(0, 32, 0, 0, 1, 30));
}

// Means of −1 and 0, −1 and −1, −3 and 0 (−1.5 rounds up to −1), with 128 added to each.
TEST(PoolI8, KeepsTheZero) {
  Layer layer = Make(LayerKind::kAvgPool, {1, 6, 1}, {1, 3, 1});
  layer.window = {.kernel_w = 2, .stride_w = 2};
  const std::vector<Input<int32_t>> inputs = {{{1, 6, 1}, {127, 128, 127, 127, 125, 128}, 128}};
  EXPECT_THAT(RunI8(layer, inputs), ElementsAre(128, 127, 127));
  layer.kind = LayerKind::kMaxPool;
  EXPECT_THAT(RunI8(layer, inputs), ElementsAre(128, 127, 128));
}

// A kernel of 3, padded by one position of 128s. The input is (2, −3), weights are 1, 2, −1:
//   1·0 + 2·2 − 1·(−3) = 7 and 1·2 + 2·(−3) − 1·0 = −4, plus a bias of −2 and −128·Σw = −256
//   in q: 128 + 2·130 − 125 = 263 and 130 + 2·125 − 128 = 252
//   263 − 258 = 5, (5 + 1) >> 1 = 3, 131;  252 − 258 = −6, (−6 + 1) >> 1 = −3 (of −2.5), 125
TEST(ConvI8, ReadsAndGivesValuesBelowZero) {
  const int8_t weight_pnl[] = {1, 2, -1};
  const int32_t bias_o[] = {-2 - 128 * 2};
  const uint8_t shift_o[] = {1};
  Layer layer = Make(LayerKind::kConv2d, {1, 2, 1}, {1, 2, 1});
  layer.window = {.kernel_w = 3, .pad_w = 1};
  layer.weight_i8_pnl = weight_pnl;
  layer.bias_i32_o = bias_o;
  layer.shift_o = shift_o;
  layer.output_zero = 128;
  EXPECT_THAT(RunI8(layer, {{{1, 2, 1}, {130, 125}, 128}}), ElementsAre(131, 125));
  layer.output_zero = 0;
  EXPECT_THAT(RunI8(layer, {{{1, 2, 1}, {130, 125}, 128}}), ElementsAre(3, 0));
}

// The mean of 1 and 3 is 2, their variance 1; with an epsilon of 0.5625 they are divided by 1.25. Equal channels give the bias.
TEST(LayerNorm, BringsEachPositionToMeanZero) {
  const float gain[] = {1, 10}, bias[] = {5, -2};
  Layer layer = Make(LayerKind::kLayerNorm, {1, 3, 2}, {1, 3, 2});
  layer.weight_pnl = gain;
  layer.bias_o = bias;
  layer.epsilon = 0.5625f;
  EXPECT_THAT(RunF32(layer, {{{1, 3, 2}, {1, 3, 7, 7, 10003, 10001}}}),
              ElementsAre(4.2f, 6, 5, -2, 5.8f, -10));
}

// The same numbers with steps of 0.5 about 128, and of 0.25 about 100:
//   130, 134: S = 264, N = 2·34856 − 264² = 16, r = 1 / √(16 + 4·0.5625/0.25) = 0.2, (2·130 − 264)·r = −0.8
//   (5 − 0.8) / 0.25 = 16.8, (8 − 2) / 0.25 = 24
//   200, 200: the biases, 20 and −8 steps
TEST(LayerNormI8, IsComputedFromExactSums) {
  const float gain[] = {1, 10}, bias[] = {5, -2};
  Layer layer = Make(LayerKind::kLayerNorm, {1, 2, 2}, {1, 2, 2});
  layer.weight_pnl = gain;
  layer.bias_o = bias;
  layer.epsilon = 0.5625f;
  layer.output_scale = 0.25f;
  layer.output_zero = 100;
  EXPECT_THAT(RunI8(layer, {{{1, 2, 2}, {130, 134, 200, 200}, 128, 0.5f}}),
              ElementsAre(117, 124, 120, 92));
}

TEST(LayerNormI8, RoundsTiesToEvenAndClamps) {
  const float gain[] = {0, 0, 0, 0, 0}, bias[] = {0.125f, 0.375f, -0.125f, 1e30f, -100};
  Layer layer = Make(LayerKind::kLayerNorm, {1, 1, 5}, {1, 1, 5});
  layer.weight_pnl = gain;
  layer.bias_o = bias;
  layer.output_scale = 0.25f;
  layer.output_zero = 3;
  EXPECT_THAT(RunI8(layer, {{{1, 1, 5}, {1, 2, 3, 4, 250}, 0, 1}}), ElementsAre(3, 5, 3, 255, 0));
}

TEST(Requantised, RoundsHalfUpAndClamps) {
  EXPECT_EQ(Requantised(5, 1, 0), 3);
  EXPECT_EQ(Requantised(-5, 1, 128), 126);
  EXPECT_EQ(Requantised(-5, 0, 3), 0);
  EXPECT_EQ(Requantised(int64_t{1} << 31, 30, 128), 130);
  EXPECT_EQ(Requantised(256, 0, 0), 255);
}

}  // namespace
}  // namespace bisparse::packed
