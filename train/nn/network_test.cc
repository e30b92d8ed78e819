// SPDX-License-Identifier: Apache-2.0
// The network as a module: shapes, order of flatten, batch norm by rank, pools, what the exporter
// reads.
#include <gtest/gtest.h>

#include <cmath>

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

TEST(Network, EveryParameterIsInOneGroup) {
  const Config config = MakeConfig("[9, 7, 2]", kSparseNetwork);
  Network network(config.network, config.seed);
  EXPECT_EQ(network->DecayedParameters().size(), 4u);
  EXPECT_EQ(network->DecayedParameters().size() + network->OtherParameters().size(),
            network->parameters().size());
}

}  // namespace
}  // namespace bisparse::train
