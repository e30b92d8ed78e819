// SPDX-License-Identifier: Apache-2.0
// The network as a module: shapes, order of flatten, batch norm by rank, pools, what the exporter
// reads.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "train/config/load.h"
#include "train/nn/network.h"

namespace bisparse::train {
namespace {

/// A configuration with npy samples of the given shape, 3 classes, and the layers of `network`.
Config MakeConfig(const std::string& input, const std::string& network) {
  return ParseConfig("data:\n  type: npy\n  train_x: x.npy\n  train_y: y.npy\n  input: " + input +
                         "\n  class_names: [a, b, c]\nnetwork:\n" + network,
                     "test.yaml");
}

constexpr char kSparseNetwork[] = R"(
  - conv2d: {name: conv, channels: 12, kernel: 3, stride: 1, padding: 1,
             packing: {set_size: 3, lanes: 2, run: {channels: 1, taps: one}}}
  - batch_norm
  - max_pool: {kernel: 2}
  - kwta: {winners: 2, scope: local, groups: 2}
  - conv2d: {name: conv_b, channels: 7, kernel: [3, 2], stride: [2, 1]}
  - relu
  - avg_pool: {kernel: 2, stride: 1, padding: 1}
  - flatten
  - linear: {name: hidden, units: 20, packing: {set_size: 4, lanes: 3, run: {channels: 5}}}
  - batch_norm
  - kwta: {winners: 4, scope: global}
  - dropout: {probability: 0.25}
  - linear: {name: output, units: classes}
)";

TEST(Network, ShapesFollowTheConfiguration) {
  const Config config = MakeConfig("[9, 7, 2]", kSparseNetwork);
  torch::manual_seed(1);
  Network network(config.network, config.seed);
  network->SetEpoch(0, 1);
  for (const bool training : {true, false}) {
    network->train(training);
    size_t layer_index = 0;
    const torch::Tensor logits = network->forward(
        torch::randn({5, 9, 7, 2}), [&](const LayerConfig& layer, const torch::Tensor& y) {
          EXPECT_EQ(layer.name, config.network.layers[layer_index++].name);
          EXPECT_EQ(y.numel(), 5 * layer.output.elements()) << layer.name;
          EXPECT_EQ(y.size(1) * (y.dim() == 4 ? y.size(2) * y.size(3) : 1), layer.output.elements())
              << layer.name;
          if (y.dim() == 4) {
            EXPECT_EQ(y.size(1), layer.output.channels) << layer.name;
            EXPECT_EQ(y.size(2), layer.output.height) << layer.name;
            EXPECT_EQ(y.size(3), layer.output.width) << layer.name;
          }
        });
    EXPECT_EQ(layer_index, config.network.layers.size());
    EXPECT_EQ(logits.sizes(), (torch::IntArrayRef{5, 3}));
  }
}

TEST(Network, FlattenKeepsTheChannelsLastOrder) {
  const Config config =
      MakeConfig("[2, 3, 4]", "  - flatten\n  - linear: {units: classes, bias: false}\n");
  Network network(config.network, config.seed);
  network->eval();
  torch::NoGradGuard no_grad;
  const torch::Tensor x_bhwc = torch::randn({2, 2, 3, 4});
  const torch::Tensor weight = network->TrainedLayers()[1].weight_op;
  // The input as the loader gives it, row-major (y, x, c), is the linear layer's input.
  const torch::Tensor expected = torch::matmul(x_bhwc.view({2, 24}), weight.t());
  EXPECT_TRUE(torch::allclose(network->forward(x_bhwc), expected, 1e-5, 1e-6));
}

TEST(Network, FlattenAfterAConvolutionToo) {
  const Config config = MakeConfig("[4, 5, 1]",
                                   "  - conv2d: {channels: 3, kernel: 2, bias: false}\n"
                                   "  - flatten\n"
                                   "  - linear: {units: classes, bias: false}\n");
  Network network(config.network, config.seed);
  network->eval();
  torch::NoGradGuard no_grad;
  torch::Tensor map, flat;
  network->forward(torch::randn({1, 4, 5, 1}), [&](const LayerConfig& l, const torch::Tensor& y) {
    if (l.kind == LayerKind::kConv2d) map = y;
    if (l.kind == LayerKind::kFlatten) flat = y;
  });
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 4; ++x) {
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(map[0][c][y][x].item<float>(), flat[0][(y * 4 + x) * 3 + c].item<float>());
      }
    }
  }
}

TEST(Network, PoolsLeavePaddingOut) {
  const Config config = MakeConfig("[2, 2, 1]",
                                   "  - avg_pool: {kernel: 2, stride: 2, padding: 1}\n"
                                   "  - max_pool: {kernel: 2, stride: 1, padding: 1}\n"
                                   "  - flatten\n  - linear: {units: classes}\n");
  Network network(config.network, config.seed);
  network->eval();
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> maps;
  network->forward(torch::full({1, 2, 2, 1}, -3.0f),
                   [&](const LayerConfig&, const torch::Tensor& y) { maps.push_back(y); });
  EXPECT_TRUE(torch::equal(maps[0], torch::full_like(maps[0], -3.0f)));
  EXPECT_TRUE(torch::equal(maps[1], torch::full_like(maps[1], -3.0f)));
}

TEST(Network, ExportHoldsWhatForwardComputes) {
  const Config config = MakeConfig("[9, 7, 2]", kSparseNetwork);
  torch::manual_seed(2);
  Network network(config.network, config.seed);
  network->train();
  for (int i = 0; i < 3; ++i) network->forward(torch::randn({8, 9, 7, 2}) + 1.0f);
  network->eval();
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> outputs;
  network->forward(torch::randn({4, 9, 7, 2}),
                   [&](const LayerConfig&, const torch::Tensor& y) { outputs.push_back(y); });
  const std::vector<TrainedLayer> layers = network->TrainedLayers();
  ASSERT_EQ(layers.size(), outputs.size());
  // hidden (index 8) and its batch norm (9), from the exported tensors alone.
  const TrainedLayer &hidden = layers[8], &norm = layers[9];
  EXPECT_EQ(hidden.weight_op.sizes(), (torch::IntArrayRef{20, hidden.config.input.elements()}));
  EXPECT_FALSE(hidden.owner_nr.empty());
  const torch::Tensor y = torch::matmul(outputs[7], hidden.weight_op.t()) + hidden.bias_o;
  EXPECT_TRUE(torch::allclose(y, outputs[8], 1e-4, 1e-5));
  const torch::Tensor z =
      (y - norm.mean_c) / (norm.variance_c + norm.config.epsilon).sqrt() * norm.scale_c +
      norm.shift_c;
  EXPECT_TRUE(torch::allclose(z, outputs[9], 1e-4, 1e-4));
  int64_t nonzeros = 0;
  for (const TrainedLayer& layer : layers) {
    if (layer.weight_op.defined()) nonzeros += (layer.weight_op != 0).sum().item<int64_t>();
  }
  EXPECT_EQ(nonzeros, network->NonZeroWeights());
  EXPECT_LT(nonzeros, network->DenseWeights());
}

constexpr char kGraph[] = R"(
  - conv2d: {name: stem, channels: 4, kernel: 3, padding: 1}
  - batch_norm: {name: stem_norm}
  - relu: {name: trunk}
  - conv2d: {name: inner, channels: 6, kernel: 3, stride: 2, padding: 1}
  - batch_norm: {name: inner_norm}
  - conv2d: {name: shortcut, from: trunk, channels: 6, kernel: 1, stride: 2}
  - add: {name: sum, from: inner_norm}
  - avg_pool: {kernel: 0}
  - flatten
  - linear: {name: gate, units: 6}
  - multiply: {name: gated, from: sum}
  - concat: {name: all, from: [sum, inner]}
  - flatten
  - linear: {name: output, units: classes}
)";

/// The graph written as calls of LibTorch, in double; the network computes in float.
TEST(Network, AGraphComputesWhatItsCallsByHandCompute) {
  const Config config = MakeConfig("[6, 8, 2]", kGraph);
  torch::manual_seed(3);
  Network network(config.network, config.seed);
  network->train();
  for (int i = 0; i < 3; ++i) network->forward(torch::randn({8, 6, 8, 2}) + 1.0f);
  network->eval();
  const torch::NoGradGuard no_grad;
  std::map<std::string, TrainedLayer> layer;
  for (TrainedLayer& each : network->TrainedLayers()) layer[each.config.name] = each;
  const auto conv = [&](const char* name, const torch::Tensor& x, int64_t stride, int64_t pad) {
    const TrainedLayer& l = layer.at(name);
    const packed::KernelShape& k = l.config.kernel;
    const torch::Tensor weight =
        l.weight_op.view({k.outputs, k.channels, k.kernel_h, k.kernel_w}).to(torch::kFloat64);
    return torch::conv2d(x, weight, l.bias_o.to(torch::kFloat64), stride, pad);
  };
  const auto norm = [&](const char* name, const torch::Tensor& x) {
    const TrainedLayer& l = layer.at(name);
    const auto each = [](const torch::Tensor& c) { return c.to(torch::kFloat64).view({-1, 1, 1}); };
    return (x - each(l.mean_c)) / (each(l.variance_c) + l.config.epsilon).sqrt() * each(l.scale_c) +
           each(l.shift_c);
  };
  const torch::Tensor x_bhwc = torch::randn({5, 6, 8, 2});
  const torch::Tensor x = x_bhwc.to(torch::kFloat64).permute({0, 3, 1, 2});
  const torch::Tensor trunk = norm("stem_norm", conv("stem", x, 1, 1)).relu();
  const torch::Tensor inner = conv("inner", trunk, 2, 1);
  const torch::Tensor sum = norm("inner_norm", inner) + conv("shortcut", trunk, 2, 0);
  const auto linear = [&](const char* name, const torch::Tensor& flat) {
    const TrainedLayer& l = layer.at(name);
    return torch::matmul(flat, l.weight_op.to(torch::kFloat64).t()) + l.bias_o.to(torch::kFloat64);
  };
  const torch::Tensor gate = linear("gate", sum.mean({2, 3})).view({5, 6, 1, 1});
  const torch::Tensor all = torch::cat({sum * gate, sum, inner}, 1);
  const torch::Tensor expected = linear("output", all.permute({0, 2, 3, 1}).reshape({5, -1}));
  const torch::Tensor logits = network->forward(x_bhwc);
  EXPECT_TRUE(torch::allclose(logits.to(torch::kFloat64), expected, 1e-4, 1e-4))
      << logits << expected;
}

TEST(Network, AValueIsDroppedAfterItsLastReader) {
  const Config config = MakeConfig("[6, 8, 2]", kGraph);
  Network network(config.network, config.seed);
  network->eval();
  const torch::NoGradGuard no_grad;
  using Weak = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  std::map<std::string, Weak> values;
  std::map<std::string, std::vector<std::string>> alive;
  network->forward(torch::randn({2, 6, 8, 2}), [&](const LayerConfig& l, const torch::Tensor& y) {
    for (const auto& [name, value] : values) {
      if (!value.expired()) alive[l.name].push_back(name);
    }
    values.emplace(l.name, Weak(y.getIntrusivePtr()));
  });
  using Names = std::vector<std::string>;
  EXPECT_EQ(alive["inner"], Names{"trunk"});
  EXPECT_EQ(alive["shortcut"], (Names{"inner", "inner_norm", "trunk"}));
  EXPECT_EQ(alive["gated"], (Names{"gate", "inner", "sum"}));
  EXPECT_EQ(alive["all"], (Names{"gated", "inner", "sum"}));
}

TEST(Network, FlatValuesAreMapsOfOnePositionWhereAMapIsWanted) {
  const Config config = MakeConfig("[2, 3, 2]",
                                   "  - flatten\n  - conv2d: {channels: 4, kernel: 1}\n"
                                   "  - batch_norm\n  - max_pool: {kernel: 1}\n"
                                   "  - linear: {units: classes}\n");
  Network network(config.network, config.seed);
  for (const bool training : {true, false}) {
    network->train(training);
    EXPECT_EQ(network->forward(torch::randn({4, 2, 3, 2})).sizes(), (torch::IntArrayRef{4, 3}));
  }
}

TEST(Network, EveryParameterIsInOneGroup) {
  const Config config = MakeConfig("[9, 7, 2]", kSparseNetwork);
  Network network(config.network, config.seed);
  EXPECT_EQ(network->DecayedParameters().size(), 4u);
  EXPECT_EQ(network->DecayedParameters().size() + network->OtherParameters().size(),
            network->parameters().size());
}

}  // namespace
}  // namespace bisparse::train
