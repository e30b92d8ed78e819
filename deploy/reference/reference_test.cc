// SPDX-License-Identifier: Apache-2.0
// int8: the reference against numbers worked out by hand; random models are valid, differ, reach
// every kind of layer and use the whole range of u8; their files hold the same numbers.
#include "deploy/reference/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/ops/activation/op.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model_file.h"
#include "deploy/reference/random_model.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Model;
using testing::ElementsAre;

std::vector<float> Features(const Model& model, uint64_t seed) {
  CounterRandom random(seed, {1});
  std::vector<float> x(static_cast<size_t>(model.input.elements()));
  for (float& value : x) value = random.Normal();
  return x;
}

/// One dense layer of one lane behind another; spans point into static arrays.
struct ByHand {
  Model model{.name = "by_hand", .format = packed::NumberFormat::kI8};

  Layer& Add(LayerKind kind, const Shape& output) {
    Layer layer;
    layer.kind = kind;
    layer.name = packed::LayerKindName(kind) + std::to_string(model.layers.size());
    layer.input = model.layers.empty() ? model.input : model.layers.back().output;
    layer.output = output;
    model.layers.push_back(layer);
    return model.layers.back();
  }
};

// Input 1×3×1, scale 0.5, zero 10; q of 1.0 = 12, of −1.0 = 8, of 0.25 (a tie: 0.5) = 10.
//   conv 1×3, padded by 1 left and right with 10s; weights 1 2 3 and −1 0 1
//     sums of output 0: 1·10 + 2·12 + 3·8 = 58    1·12 + 2·8 + 3·10 = 58    1·8 + 2·10 + 3·10 = 58
//       with bias −10·6 + 3 = −57:                  1                         1
//     and of output 1:  −10 + 8 = −2              −12 + 10 = −2             −8 + 10 = 2
//       with bias 9:      7                         7                         11
//   shifts 0 and 1: 1 1 1 and (7 + 1)/2 = 4, 4, (11 + 1)/2 = 6
TEST(ReferenceI8, ComputesAConvolutionByHand) {
  static const int8_t weight_pnl[] = {1, -1, 2, 0, 3, 1};  // [p][n], lanes = 1
  static const int32_t bias_o[] = {-57, 9};
  static const uint8_t shift_o[] = {0, 1};
  static const int8_t linear_pnl[] = {1, -2, 3, -4, 5, 127};
  static const int32_t linear_bias_o[] = {-500};
  static const float scale_o[] = {0.25f};
  ByHand net;
  net.model.input = {1, 3, 1};
  net.model.input_scale = 0.5f;
  net.model.input_zero = 10;
  Layer& conv = net.Add(LayerKind::kConv2d, {1, 3, 2});
  conv.window = {.kernel_h = 1, .kernel_w = 3, .pad_w = 1};
  conv.weight_i8_pnl = weight_pnl;
  conv.bias_i32_o = bias_o;
  conv.shift_o = shift_o;
  conv.output_scale = 0.125f;
  net.Add(LayerKind::kRelu, {1, 3, 2});
  Layer& linear = net.Add(LayerKind::kLinear, {1, 1, 1});
  linear.weight_i8_pnl = linear_pnl;
  linear.bias_i32_o = linear_bias_o;
  linear.scale_o = scale_o;
  ASSERT_NO_THROW(packed::ValidateModel(net.model, "by_hand"));

  const ReferenceRunI8 run = RunReferenceI8(net.model, std::vector<float>{1.0f, -1.0f, 0.25f});
  EXPECT_THAT(run.input, ElementsAre(12, 8, 10));
  ASSERT_EQ(run.layer_output.size(), 3u);
  EXPECT_THAT(run.layer_output[0], ElementsAre(1, 4, 1, 4, 1, 6));
  EXPECT_EQ(run.layer_output[1], run.layer_output[0]);
  // 1 − 8 + 3 − 16 + 5 + 762 − 500
  EXPECT_THAT(run.layer_output[2], ElementsAre(247));
  EXPECT_THAT(run.logits, ElementsAre(61.75f));
}

TEST(ReferenceI8, QuantisesTheInput) {
  static const int8_t weight_pnl[] = {1};
  static const int32_t bias_o[] = {0};
  static const float scale_o[] = {1.0f};
  ByHand net;
  net.model.input = {1, 1, 1};
  net.model.input_scale = 0.5f;
  net.model.input_zero = 100;
  Layer& layer = net.Add(LayerKind::kLinear, {1, 1, 1});
  layer.weight_i8_pnl = weight_pnl;
  layer.bias_i32_o = bias_o;
  layer.scale_o = scale_o;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::pair<float, int> expected[] = {
      {0.0f, 100},  {0.25f, 100}, {0.26f, 101},     {0.75f, 102},    {-0.25f, 100}, {-0.75f, 98},
      {77.5f, 255}, {77.0f, 254}, {77.8f, 255},     {-50.0f, 0},     {-49.5f, 1},   {-50.3f, 0},
      {1e30f, 255}, {-1e30f, 0},  {kInfinity, 255}, {-kInfinity, 0}, {NAN, 0}};
  for (const auto& [x, q] : expected) {
    EXPECT_THAT(RunReferenceI8(net.model, std::vector<float>{x}).input, ElementsAre(q)) << x;
  }
}

/// What a layer of `kind` makes of x, u8 values: between layers with weights that change nothing.
std::vector<int32_t> OutputOf(const std::vector<float>& x, LayerKind kind, const Shape& output,
                              const packed::Window& window, const packed::Kwta& kwta) {
  static const int8_t weight_pnl[] = {1, 0, 0, 1};
  static const int32_t bias_o[] = {0, 0, 0, 0, 0, 0, 0, 0};
  static const uint8_t shift_o[] = {0, 0};
  static const int8_t zero_pnl[64] = {};
  static const float scale_o[] = {1.0f};
  ByHand net;
  net.model.input = {1, static_cast<int32_t>(x.size() / 2), 2};
  net.model.input_scale = 1.0f;
  Layer& conv = net.Add(LayerKind::kConv2d, net.model.input);
  conv.weight_i8_pnl = weight_pnl;
  conv.bias_i32_o = std::span(bias_o).first(2);
  conv.shift_o = shift_o;
  conv.output_scale = 1.0f;
  net.Add(LayerKind::kRelu, net.model.input);
  Layer& tested = net.Add(kind, output);
  tested.window = window;
  tested.kwta = kwta;
  Layer& linear = net.Add(LayerKind::kLinear, {1, 1, 1});
  linear.weight_i8_pnl = std::span(zero_pnl).first(static_cast<size_t>(output.elements()));
  linear.bias_i32_o = std::span(bias_o).first(1);
  linear.scale_o = scale_o;
  packed::ValidateModel(net.model, "by_hand");
  return RunReferenceI8(net.model, x).layer_output[2];
}

TEST(ReferenceI8, AveragesRoundHalfUpAndLeavePaddingOut) {
  // Windows of 2 from −1: {1}, {4, 2}, {3}: averages 1, 3, 3; and of the other channel 0, 2.5, 4.
  const std::vector<float> x = {1, 0, 4, 2, 2, 3, 3, 4};
  EXPECT_THAT(
      OutputOf(x, LayerKind::kAvgPool, {1, 3, 2}, {.kernel_w = 2, .stride_w = 2, .pad_w = 1}, {}),
      ElementsAre(1, 0, 3, 3, 3, 4));
  EXPECT_THAT(
      OutputOf(x, LayerKind::kMaxPool, {1, 3, 2}, {.kernel_w = 2, .stride_w = 2, .pad_w = 1}, {}),
      ElementsAre(1, 0, 4, 3, 3, 4));
  EXPECT_THAT(
      OutputOf({1, 0, 1, 0, 2, 1, 0, 0}, LayerKind::kAvgPool, {1, 2, 2}, {.kernel_w = 3}, {}),
      ElementsAre(1, 0, 1, 0));  // 4/3, 1/3; 3/3, 1/3
}

TEST(ReferenceI8, WinnersTieToTheLowestIndexAndRankBySums) {
  using packed::KwtaScope;
  EXPECT_THAT(OutputOf({5, 5, 0, 7}, LayerKind::kKwta, {1, 2, 2}, {}, {.winners = 1}),
              ElementsAre(5, 0, 0, 7));
  EXPECT_THAT(OutputOf({5, 7, 7, 7}, LayerKind::kKwta, {1, 2, 2}, {},
                       {.winners = 2, .scope = KwtaScope::kGlobal}),
              ElementsAre(0, 7, 7, 0));
  EXPECT_THAT(OutputOf({5, 7, 8, 5, 255, 0, 200, 56}, LayerKind::kKwta, {1, 4, 2}, {},
                       {.winners = 1, .scope = KwtaScope::kGlobal, .chunk = 2}),
              ElementsAre(0, 0, 0, 0, 0, 0, 200, 56));
}

TEST(RandomI8Model, IsValidAndReachesEveryKindOfLayer) {
  std::set<LayerKind> kinds;
  int last_conv = 0, pool_first = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Model model = MakeRandomI8Model(seed);
    ASSERT_NO_THROW(packed::ValidateModel(model, "seed " + std::to_string(seed)));
    bool conv = false;
    for (const Layer& layer : model.layers) {
      kinds.insert(layer.kind);
      if (layer.HasWeights()) conv = layer.IsConvolution();
    }
    last_conv += conv;
    pool_first += !model.layers.front().HasWeights();
  }
  EXPECT_EQ(kinds.size(), 10u + packed::Activations().size());
  EXPECT_GT(last_conv, 10);
  EXPECT_GT(pool_first, 10);
}

// Else a kernel that is wrong would go unnoticed: all zeros or all at 255 hide it.
TEST(RandomI8Model, UsesTheRangeOfU8) {
  int maps = 0, varied = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Model model = MakeRandomI8Model(seed);
    const ReferenceRunI8 run = RunReferenceI8(model, Features(model, seed));
    for (size_t i = 0; i < model.layers.size(); ++i) {
      if (!model.layers[i].HasWeights() || model.layers[i].shift_o.empty()) continue;
      const std::set<int32_t> values(run.layer_output[i].begin(), run.layer_output[i].end());
      ASSERT_GE(*values.begin(), 0);
      ASSERT_LE(*values.rbegin(), 255);
      ++maps;
      varied += values.size() >= std::min<size_t>(8, run.layer_output[i].size() / 3);
    }
  }
  EXPECT_GT(maps, 100);
  EXPECT_GT(varied, maps * 4 / 5);
}

/// Which layers and joins random graphs have, and how often values are read.
struct Seen {
  std::set<LayerKind> kinds;
  int branches = 0, thrice = 0, twice = 0, of_input = 0, repeated = 0, signed_maps = 0,
      signed_relus = 0, signed_kwtas = 0, signed_pools = 0, shifted = 0, affine = 0;

  void Add(const Model& model) {
    const packed::Graph graph(model);
    const std::vector<packed::Quantisation> steps = packed::Quantisations(model);
    for (int64_t i = 0; i < std::ssize(model.layers); ++i) {
      const Layer& layer = model.layers[static_cast<size_t>(i)];
      const std::span<const int32_t> inputs = graph.inputs(i);
      kinds.insert(layer.kind);
      branches += graph.readers(i).size() > 1;
      thrice += graph.readers(i).size() > 2;
      twice += inputs.size() == 2 && inputs[0] == inputs[1];
      of_input += i > 0 && inputs[0] == -1;
      affine += layer.kind == LayerKind::kAffine;
      for (const int32_t value : inputs.subspan(1)) {
        const Shape& shape =
            value < 0 ? model.input : model.layers[static_cast<size_t>(value)].output;
        repeated += shape.height != layer.output.height || shape.width != layer.output.width;
      }
      const bool is_signed =
          steps[static_cast<size_t>(inputs[0] + 1)].zero == 128 && inputs[0] >= 0;
      signed_maps += layer.output_zero == 128;
      signed_relus += is_signed && layer.kind == LayerKind::kRelu;
      signed_kwtas += is_signed && layer.kind == LayerKind::kKwta;
      signed_pools +=
          is_signed && (layer.kind == LayerKind::kMaxPool || layer.kind == LayerKind::kAvgPool);
      for (const uint8_t shift : layer.input_shift) shifted += shift > 0;
    }
  }
};

TEST(RandomGraph, IsValidAndReachesEveryKindOfLayerAndBranch) {
  Seen f32, i8;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Model graph = MakeRandomModel(seed, {.graphs = true});
    ASSERT_NO_THROW(packed::ValidateModel(graph, "seed " + std::to_string(seed)));
    f32.Add(graph);
    const Model inexact = MakeRandomModel(seed, {.exact = false, .graphs = true});
    ASSERT_NO_THROW(packed::ValidateModel(inexact, "seed " + std::to_string(seed)));
    f32.Add(inexact);
    const Model quantised = MakeRandomI8Model(seed, {.graphs = true});
    ASSERT_NO_THROW(packed::ValidateModel(quantised, "seed " + std::to_string(seed)));
    i8.Add(quantised);
  }
  for (const Seen* seen : {&f32, &i8}) {
    EXPECT_EQ(seen->kinds.size(), static_cast<size_t>(packed::kLastLayerKind) + (seen == &i8));
    for (const int count :
         {seen->branches, seen->thrice, seen->twice, seen->of_input, seen->repeated}) {
      EXPECT_GT(count, 20);
    }
  }
  for (const int count :
       {i8.signed_maps, i8.signed_relus, i8.signed_kwtas, i8.signed_pools, i8.shifted, i8.affine}) {
    EXPECT_GT(count, 10);
  }
}

// Engines may add in another order only because of this; see ReferenceRun.
TEST(RandomGraph, SumsInF32AreExact) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Model model = MakeRandomModel(seed, {.graphs = true});
    CounterRandom random(seed, {1});
    std::vector<float> x(static_cast<size_t>(model.input.elements()));
    for (float& value : x) value = static_cast<float>(random.Below(7)) - 3.0f;
    double unit = 1;
    for (const Layer& layer : model.layers) {
      if (layer.kind == LayerKind::kAvgPool) unit /= 4;
    }
    EXPECT_LT(RunReference(model, x).largest_magnitude, 0x1p24 * unit) << "seed " << seed;
  }
}

TEST(RandomGraph, UsesTheRangeOfU8) {
  int maps = 0, varied = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Model model = MakeRandomI8Model(seed, {.graphs = true});
    const ReferenceRunI8 run = RunReferenceI8(model, Features(model, seed));
    for (size_t i = 0; i < model.layers.size(); ++i) {
      if (model.layers[i].output_scale == 0.0f) continue;
      const std::set<int32_t> values(run.layer_output[i].begin(), run.layer_output[i].end());
      ASSERT_GE(*values.begin(), 0);
      ASSERT_LE(*values.rbegin(), 255);
      ++maps;
      varied += values.size() >= std::min<size_t>(8, run.layer_output[i].size() / 3);
    }
  }
  EXPECT_GT(maps, 300);
  EXPECT_GT(varied, maps * 4 / 5);
}

TEST(RandomI8Model, IsTheSameForASeedAndKeepsItsNumbersAlive) {
  const Model again = MakeRandomI8Model(5);
  Model copy;
  {
    const Model model = MakeRandomI8Model(5);
    copy = model;
  }
  const std::vector<float> x = Features(copy, 5);
  EXPECT_EQ(RunReferenceI8(copy, x).logits, RunReferenceI8(again, x).logits);
  EXPECT_EQ(packed::SerialiseModel(copy), packed::SerialiseModel(again));
  EXPECT_NE(packed::SerialiseModel(copy), packed::SerialiseModel(MakeRandomI8Model(6)));
}

TEST(RandomI8Model, ReadBackFromAFileComputesTheSame) {
  for (uint64_t seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Model model = MakeRandomI8Model(seed, {.graphs = seed % 2 == 1});
    const Model read = packed::ParseModel(packed::SerialiseModel(model), "bytes");
    const std::vector<float> x = Features(model, seed);
    const ReferenceRunI8 ours = RunReferenceI8(model, x), theirs = RunReferenceI8(read, x);
    ASSERT_EQ(ours.input, theirs.input);
    ASSERT_EQ(ours.layer_output, theirs.layer_output);
    ASSERT_EQ(ours.logits, theirs.logits);
  }
}

}  // namespace
}  // namespace bisparse
