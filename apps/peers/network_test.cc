// SPDX-License-Identifier: Apache-2.0
// The dense network computes what the packed one does, on random networks with exact arithmetic;
// int8 models stand for the real numbers that their integers mean; ranges and steps.
#include "apps/peers/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "apps/peers/quantise.h"
#include "bisparse/error.h"
#include "deploy/base/random.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/pack.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"

namespace bisparse::peers {
namespace {

using packed::LayerKind;

/// A layer that joins maps, channels first; `shapes` of its inputs.
std::vector<float> Join(const DenseLayer& layer, const std::vector<std::vector<float>>& inputs,
                        const std::vector<Shape>& shapes) {
  if (layer.kind == LayerKind::kConcat) {
    std::vector<float> all;
    for (const std::vector<float>& in : inputs) all.insert(all.end(), in.begin(), in.end());
    return all;
  }
  const Shape& o = layer.output;
  std::vector<float> out = inputs[0];
  for (size_t k = 1; k < inputs.size(); ++k) {
    for (int64_t e = 0; e < o.elements(); ++e) {
      const int64_t c = e / (o.height * o.width), y = e / o.width % o.height, x = e % o.width;
      const int64_t yk = shapes[k].height == 1 ? 0 : y, xk = shapes[k].width == 1 ? 0 : x;
      const float value = inputs[k][size_t((c * shapes[k].height + yk) * shapes[k].width + xk)];
      float& sum = out[size_t(e)];
      sum = layer.kind == LayerKind::kAdd ? sum + value : sum * value;
    }
  }
  return out;
}

/// A layer from its definition, maps channels first.
std::vector<float> RunLayer(const DenseLayer& layer, const std::vector<std::vector<float>>& inputs,
                            const std::vector<Shape>& shapes) {
  const std::vector<float>& in = inputs[0];
  const Shape &i = layer.input, &o = layer.output;
  const packed::Window& w = layer.window;
  std::vector<float> out;
  const bool conv = layer.IsConvolution(), full = layer.kind == LayerKind::kConv2d;
  const bool windowed =
      conv || layer.kind == LayerKind::kMaxPool || layer.kind == LayerKind::kAvgPool;
  for (int32_t c = 0; windowed && c < o.channels; ++c) {
    for (int32_t y = 0; y < o.height; ++y) {
      for (int32_t x = 0; x < o.width; ++x) {
        float sum = conv ? layer.bias_o[size_t(c)] : 0, most = -INFINITY, count = 0;
        for (int32_t ci = full ? 0 : c; ci < (full ? i.channels : c + 1); ++ci) {
          for (int32_t t = 0; t < w.kernel_h * w.kernel_w; ++t) {
            const int32_t yi = y * w.stride_h + t / w.kernel_w * w.dilation_h - w.pad_h;
            const int32_t xi = x * w.stride_w + t % w.kernel_w * w.dilation_w - w.pad_w;
            if (yi < 0 || yi >= i.height || xi < 0 || xi >= i.width) continue;
            const float value = in[size_t((ci * i.height + yi) * i.width + xi)];
            const int32_t p = (full ? ci : 0) * w.kernel_h * w.kernel_w + t;
            const int32_t positions = (full ? i.channels : 1) * w.kernel_h * w.kernel_w;
            sum += conv ? layer.weight_op[size_t(c * positions + p)] * value : value;
            most = std::max(most, value);
            count += 1;
          }
        }
        out.push_back(layer.kind == LayerKind::kMaxPool   ? most
                      : layer.kind == LayerKind::kAvgPool ? sum / count
                                                          : sum);
      }
    }
  }
  if (layer.kind == LayerKind::kLinear) {
    for (size_t u = 0; u < layer.bias_o.size(); ++u) {
      out.push_back(layer.bias_o[u]);
      for (size_t p = 0; p < in.size(); ++p) {
        out.back() += layer.weight_op[u * in.size() + p] * in[p];
      }
    }
  }
  if (layer.kind == LayerKind::kRelu) out = in;
  if (inputs.size() > 1) out = Join(layer, inputs, shapes);
  if (layer.kind == LayerKind::kAffine) {
    const size_t each = in.size() / layer.bias_o.size();
    for (size_t e = 0; e < in.size(); ++e) {
      out.push_back(in[e] * layer.weight_op[e / each] + layer.bias_o[e / each]);
    }
  }
  for (float& value : out) {
    if (layer.relu || layer.kind == LayerKind::kRelu) value = std::max(value, 0.0f);
    EXPECT_TRUE(value >= 0 || !layer.nonnegative) << layer.name;
  }
  return out;
}

/// The outputs of all layers, channels first.
std::vector<std::vector<float>> RunNetwork(const DenseNetwork& network,
                                           const std::vector<float>& x_byxc) {
  const std::vector<float> input = ChannelsFirst(x_byxc, network.input);
  std::vector<std::vector<float>> values;
  for (const DenseLayer& layer : network.layers) {
    std::vector<std::vector<float>> inputs;
    std::vector<Shape> shapes;
    for (const int32_t value : layer.inputs) {
      inputs.push_back(value < 0 ? input : values[size_t(value)]);
      shapes.push_back(network.ShapeOf(value));
    }
    values.push_back(RunLayer(layer, inputs, shapes));
  }
  return values;
}

std::vector<float> WholeNumbers(size_t count, uint64_t seed) {
  CounterRandom random(seed, {7});
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(random.Below(7)) - 3.0f;
  return x;
}

TEST(ChannelsFirst, MovesTheChannelsOfEachSample) {
  // Two samples of 1×2×3 (row, column, channel): value = 100·sample + 10·column + channel.
  const std::vector<float> x = {0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112};
  EXPECT_THAT(ChannelsFirst(x, {1, 2, 3}),
              testing::ElementsAre(0, 10, 1, 11, 2, 12, 100, 110, 101, 111, 102, 112));
}

TEST(MakeDenseNetwork, ComputesWhatThePackedModelDoes) {
  int fewer = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    const packed::Model model = WithReluForKwta(MakeRandomModel(seed));
    const auto x = WholeNumbers(size_t(model.input.elements()), seed);
    const ReferenceRun reference = RunReference(model, x);
    const DenseNetwork network = MakeDenseNetwork(model);
    const Shape output = network.layers.back().output;
    ASSERT_EQ(RunNetwork(network, x).back(), ChannelsFirst(reference.layer_output.back(), output));
    fewer += network.layers.size() < model.layers.size();
  }
  EXPECT_GT(fewer, 100);  // the simplifications were among what was tested
}

TEST(MakeDenseNetwork, ComputesWhatAGraphDoes) {
  int joins = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const packed::Model model = WithReluForKwta(MakeRandomModel(seed, {.graphs = true}));
    const auto x = WholeNumbers(size_t(model.input.elements()), seed);
    DenseNetwork network;
    try {
      network = MakeDenseNetwork(model);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
      ++refused;
      continue;
    }
    const Shape output = network.layers.back().output;
    const std::vector<float> expected = RunReference(model, x).layer_output.back();
    ASSERT_EQ(RunNetwork(network, x).back(), ChannelsFirst(expected, output));
    for (const DenseLayer& layer : network.layers) joins += layer.inputs.size() > 1;
  }
  EXPECT_GT(joins, 100);
  EXPECT_LT(refused, 100);
}

/// What another layer reads, no ReLU and no affine may change.
TEST(MakeDenseNetwork, AbsorbsNothingIntoAValueWithTwoReaders) {
  packed::Model model;
  model.input = {1, 1, 2};
  const std::vector<float> weight_pnl = {1, 2, 3, 4}, bias_o = {-20, 1}, scale_c = {2, 2},
                           shift_c = {1, 1};
  packed::Layer linear, relu, affine, add;
  linear.kind = LayerKind::kLinear;
  linear.packing = {1, 2, {}};
  linear.weight_pnl = weight_pnl;
  linear.bias_o = bias_o;
  affine.kind = LayerKind::kAffine;
  affine.weight_pnl = scale_c;
  affine.bias_o = shift_c;
  add.kind = LayerKind::kAdd;
  for (packed::Layer* layer : {&linear, &relu, &affine, &add})
    layer->input = layer->output = model.input;
  linear.name = "linear";
  relu.inputs = affine.inputs = {0};
  add.inputs = {1, 2};
  model.layers = {linear, relu, affine, add};
  const DenseNetwork network = MakeDenseNetwork(model);
  ASSERT_EQ(network.layers.size(), 4u);
  EXPECT_FALSE(network.layers[0].relu);
  const std::vector<float> x = {1, 2};
  EXPECT_EQ(RunNetwork(network, x).back(), RunReference(model, x).layer_output.back());
}

TEST(MakeDenseNetwork, MovesReluAheadOfMaxPoolAndFoldsAffine) {
  const DenseNetwork network = MakeDenseNetwork(WithReluForKwta(packed::MakeExampleModel(1)));
  std::vector<std::string> names;
  for (const DenseLayer& layer : network.layers) names.push_back(layer.name);
  EXPECT_THAT(names, testing::ElementsAre("conv1", "pool1", "conv2", "pool2", "linear1", "output"));
  EXPECT_TRUE(network.layers[0].relu);         // kwta1, past pool1
  EXPECT_TRUE(network.layers[2].relu);         // relu2, after norm2
  EXPECT_TRUE(network.layers[3].nonnegative);  // kwta2 after it had nothing to do
  EXPECT_TRUE(network.layers[4].relu);
  EXPECT_FALSE(network.layers[5].relu);
  EXPECT_EQ(network.layers[2].source, 4u);  // norm2
  EXPECT_EQ(network.layers[4].input, (Shape{2, 2, 16}));
}

TEST(MakeDenseNetwork, RefusesAWindowAfterFlatten) {
  packed::Model model;
  model.input = {2, 2, 1};
  packed::Layer flatten, pool;
  flatten.kind = LayerKind::kFlatten;
  flatten.input = model.input;
  flatten.output = {1, 1, 4};
  pool.kind = LayerKind::kMaxPool;
  pool.name = "late";
  pool.input = pool.output = flatten.output;
  model.layers = {flatten, pool};
  EXPECT_THAT([&] { MakeDenseNetwork(model); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("layer 'late': max_pool after")));
}

// 3 inputs → 4 hidden units (S = 2, L = 1: units 0 and 1 share a set, as do 2 and 3) → 2 outputs,
// all in numbers that int8 arithmetic keeps exactly.
TEST(Dequantise, StandsForTheNumbersThatTheIntegersMean) {
  const std::vector<uint8_t> owner_nr = {0, 1, 0, 1, 1, 0};        // [set][input]
  const std::vector<int8_t> hidden_pnl = {4, -8, 12, 16, 20, 24};  // [input][set], multiples of 4
  const int8_t hidden_oi[4][3] = {{4, 0, 20}, {0, 12, 0}, {0, 0, 24}, {-8, 16, 0}};
  const int32_t zero = 100;
  const int32_t bias_o[4] = {8, 4, -40, 12};
  std::vector<int32_t> hidden_bias_o;
  for (int o = 0; o < 4; ++o) {
    const int32_t sum = hidden_oi[o][0] + hidden_oi[o][1] + hidden_oi[o][2];
    hidden_bias_o.push_back(bias_o[o] - zero * sum);
  }
  const std::vector<uint8_t> shift_o = {2, 1, 2, 0};
  const std::vector<int8_t> last_pnl = {1, -2, 3, 4, -5, 6, 7, -8};  // [hidden][output]
  const std::vector<int32_t> last_bias_o = {-3, 9};
  const std::vector<float> scale_o = {0.5f, 0.125f};

  packed::Model model;
  model.name = "by_hand";
  model.format = packed::NumberFormat::kI8;
  model.input = {1, 1, 3};
  model.input_scale = 0.25f;
  model.input_zero = zero;
  packed::Layer hidden, last;
  hidden.kind = last.kind = LayerKind::kLinear;
  hidden.name = "hidden";
  last.name = "last";
  hidden.input = model.input;
  hidden.output = last.input = {1, 1, 4};
  last.output = {1, 1, 2};
  hidden.packing = {.set_size = 2, .lanes = 1, .run = {}};
  last.packing = {.set_size = 1, .lanes = 2, .run = {}};
  hidden.owner_nr = owner_nr;
  hidden.weight_i8_pnl = hidden_pnl;
  hidden.bias_i32_o = hidden_bias_o;
  hidden.shift_o = shift_o;
  hidden.output_scale = 2.0f;
  last.weight_i8_pnl = last_pnl;
  last.bias_i32_o = last_bias_o;
  last.scale_o = scale_o;
  model.layers = {hidden, last};

  const packed::Model real = Dequantise(model);
  packed::ValidateModel(real, "dequantised");
  for (const std::vector<int>& q_i : {std::vector<int>{100, 101, 103}, {98, 96, 100}}) {
    std::vector<float> x_i, expected_o;
    for (const int q : q_i) x_i.push_back(0.25f * static_cast<float>(q - zero));
    int hidden_o[4];
    for (int o = 0; o < 4; ++o) {
      int acc = hidden_bias_o[size_t(o)];
      for (int i = 0; i < 3; ++i) acc += hidden_oi[o][i] * q_i[size_t(i)];
      ASSERT_EQ(acc % (1 << shift_o[size_t(o)]), 0) << "the test's numbers are to be exact";
      hidden_o[o] = std::clamp(acc >> shift_o[size_t(o)], 0, 255);
      ASSERT_LT(hidden_o[o], 255);
    }
    for (int o = 0; o < 2; ++o) {
      int acc = last_bias_o[size_t(o)];
      for (int h = 0; h < 4; ++h) acc += last_pnl[size_t(2 * h + o)] * hidden_o[h];
      expected_o.push_back(static_cast<float>(acc) * scale_o[size_t(o)]);
    }
    EXPECT_EQ(RunReference(real, x_i).layer_output.back(), expected_o);
  }
}

TEST(Calibrate, FindsTheRangeOfEachMap) {
  const packed::Model model = WithReluForKwta(packed::MakeExampleModel(2));
  const DenseNetwork network = MakeDenseNetwork(model);
  const auto x = WholeNumbers(size_t(3 * model.input.elements()), 5);
  const Ranges ranges = Calibrate(model, network, x);
  EXPECT_EQ(ranges.input.low, -3);
  EXPECT_EQ(ranges.input.high, 3);
  ASSERT_EQ(ranges.layers.size(), network.layers.size());
  std::vector<Range> expected(network.layers.size());
  for (int b = 0; b < 3; ++b) {
    const auto begin = x.begin() + b * model.input.elements();
    const auto values = RunNetwork(network, {begin, begin + model.input.elements()});
    for (size_t i = 0; i < network.layers.size(); ++i) {
      const auto [low, high] = std::minmax_element(values[i].begin(), values[i].end());
      expected[i] = {std::min(expected[i].low, *low), std::max(expected[i].high, *high)};
    }
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(ranges.layers[i].low, expected[i].low, 1e-4) << network.layers[i].name;
    EXPECT_NEAR(ranges.layers[i].high, expected[i].high, 1e-4) << network.layers[i].name;
  }
}

TEST(StepsOf, HoldsZeroExactlyAndBothEnds) {
  for (const Range range : {Range{0, 5}, Range{-1, 0}, Range{-2, 6}, Range{-0.1f, 20}}) {
    const Steps steps = StepsOf(range);
    const auto real = [&](int q) { return steps.scale * static_cast<float>(q - steps.zero); };
    EXPECT_NEAR(real(0), range.low, steps.scale / 2 + 1e-5f);
    EXPECT_NEAR(real(255), range.high, steps.scale / 2 + 1e-5f);
  }
  EXPECT_EQ(StepsOf({0, 0}).scale, 1);
}

TEST(QuantiseWeights, UsesAllStepsOfEachOutput) {
  DenseLayer layer;
  layer.weight_op = {0.5f, -1.0f, 0.25f, 0, 0, 0, 1e-3f, 2e-3f, 3e-3f};
  layer.bias_o = {0, 0, 0};
  const QuantisedWeights q = QuantiseWeights(layer);
  EXPECT_THAT(q.weight_op, testing::ElementsAre(64, -127, 32, 0, 0, 0, 42, 85, 127));
  EXPECT_THAT(q.scale_o, testing::ElementsAre(1.0f / 127, 1.0f, 3e-3f / 127));
}

}  // namespace
}  // namespace bisparse::peers
