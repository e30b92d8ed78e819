// SPDX-License-Identifier: Apache-2.0
#include "train/config/assemble.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/packed/pack.h"
#include "train/config/load.h"
#include "train/config/static_owners.h"

namespace bisparse::train {
namespace {

constexpr const char* kSmall = R"(seed: 3
data: {type: npy, train_x: x, train_y: y, input: [6, 5, 2], class_names: [a, b, c]}
network:
  - batch_norm
  - conv2d: {channels: 7, kernel: [3, 2], packing: {set_size: 3, lanes: 2, run: {taps: row}}}
  - dropout
  - batch_norm
  - max_pool: {kernel: 2}
  - kwta: {winners: 2}
  - flatten
  - linear: {units: classes}
)";

Config Small() { return ParseConfig(kSmall, "small.yaml"); }

TEST(Assemble, FoldedWeightsComputeBatchNormOfTheLayer) {
  const std::vector<float> gamma{2.0f, -0.5f}, beta{1.0f, 0.25f}, mean{0.5f, -3.0f},
      variance{4.0f, 0.01f};
  const BatchNormStatistics statistics{gamma, beta, mean, variance, 1e-5};
  LayerWeights layer{{1, 2, 3, -1, 0, 5}, {}, {0.5f, -1.0f}};
  const LayerWeights before = layer;
  FoldBatchNorm(layer, statistics);
  const std::vector<double> x{0.3, -2.0, 1.5};
  for (size_t o = 0; o < 2; ++o) {
    double y = before.bias_o[o], folded = layer.bias_o[o];
    for (size_t p = 0; p < 3; ++p) {
      y += before.weight_op[o * 3 + p] * x[p];
      folded += layer.weight_op[o * 3 + p] * x[p];
    }
    const double normed = (y - mean[o]) / std::sqrt(variance[o] + 1e-5) * gamma[o] + beta[o];
    // Four roundings to float of numbers up to |normed| · fan-in.
    EXPECT_NEAR(folded, normed, 1e-6 * (10.0 + 10.0 * std::abs(normed))) << "output " << o;
  }
}

TEST(Assemble, FoldingGivesALayerWithoutBiasOne) {
  const std::vector<float> mean{2.0f}, variance{1.0f};
  LayerWeights layer{{3.0f}, {}, {}};
  FoldBatchNorm(layer, {{}, {}, mean, variance, 0.0});
  EXPECT_EQ(layer.weight_op, std::vector<float>{3.0f});
  EXPECT_EQ(layer.bias_o, std::vector<float>{-2.0f});
}

TEST(Assemble, LayersFollowTheConfigurationWithoutDropoutAndFoldedNorms) {
  const packed::Model model = MakeRandomModel(Small(), 9);
  std::vector<std::string> names;
  for (const packed::Layer& layer : model.layers) names.push_back(layer.name);
  EXPECT_THAT(names, testing::ElementsAre("batch_norm1", "conv1", "max_pool1", "kwta1", "flatten1",
                                          "linear1"));
  EXPECT_EQ(model.layers[0].kind, packed::LayerKind::kAffine);
  EXPECT_THAT(model.layers[0].weight_pnl, testing::ElementsAre(1.0f, 1.0f));
  EXPECT_EQ(model.layers[1].packing.set_size, 3);
  EXPECT_EQ(model.layers[5].packing, (packed::Packing{1, 16, {}}));
  EXPECT_EQ(model.layers[5].bias_o.size(), 16u);
  EXPECT_EQ(model.output_count(), 3);
  EXPECT_THAT(model.class_names, testing::ElementsAre("a", "b", "c"));
  EXPECT_FALSE(model.front_end.has_value());
  EXPECT_EQ(model.provenance.config_text, kSmall);
}

TEST(Assemble, NormsThatStayTakeTheirNumbersInOrder) {
  const Config config = ParseConfig(R"(
data: {type: npy, train_x: x, train_y: y, input: [1, 1, 2], class_names: [a, b], normalise: column}
network:
  - layer_norm: {epsilon: 0.5}
  - batch_norm
  - linear: {units: 2}
  - batch_norm
  - layer_norm
)",
                                    "norms.yaml");
  const std::vector<LayerWeights> weights = {{{1, 0, 0, 1}, {}, {}}};
  const std::vector<Affine> affines = {
      {{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}, {{9, 10}, {11, 12}}, {{13, 14}, {15, 16}}};
  const packed::Model model = AssembleModel(config, weights, affines, {"a", "b"}, {});
  ASSERT_EQ(model.layers.size(), 5u);
  EXPECT_EQ(model.layers[1].kind, packed::LayerKind::kLayerNorm);
  EXPECT_EQ(model.layers[1].epsilon, 0.5f);
  EXPECT_THAT(model.layers[1].weight_pnl, testing::ElementsAre(5, 6));
  EXPECT_THAT(model.layers[1].bias_o, testing::ElementsAre(7, 8));
  EXPECT_EQ(model.layers[2].kind, packed::LayerKind::kAffine);
  EXPECT_THAT(model.layers[2].weight_pnl, testing::ElementsAre(9, 10));
  EXPECT_EQ(model.layers[4].epsilon, 1e-5f);
  EXPECT_THAT(model.layers[4].weight_pnl, testing::ElementsAre(13, 14));
}

TEST(Assemble, AGraphNamesItsInputsByTheLayersThatAreDeployed) {
  const Config config = ParseConfig(R"(
data: {type: npy, train_x: x, train_y: y, input: [6, 5, 2], class_names: [a, b, c], normalise: column}
network:
  - conv2d: {name: stem, channels: 8, kernel: 3}
  - batch_norm
  - dropout: {name: trunk}
  - conv2d: {name: inner, channels: 8, kernel: 1}
  - batch_norm: {name: shared_norm}
  - conv2d: {name: skip, from: trunk, channels: 8, kernel: 1}
  - batch_norm
  - add: {name: sum, from: [shared_norm, trunk]}
  - conv2d: {name: again, from: input, channels: 4, kernel: 3}
  - concat: {name: all, from: [sum, inner]}
  - flatten
  - linear: {units: classes}
)",
                                    "graph.yaml");
  const packed::Model model = MakeRandomModel(config, 2);
  std::map<std::string, std::vector<int32_t>> inputs;
  std::vector<std::string> names;
  for (const packed::Layer& layer : model.layers) {
    names.push_back(layer.name);
    inputs[layer.name] = layer.inputs;
  }
  EXPECT_THAT(names, testing::ElementsAre("input.normalise", "stem", "inner", "shared_norm", "skip",
                                          "sum", "again", "all", "flatten1", "linear1"));
  using Values = std::vector<int32_t>;
  // What reads the layer before it says nothing; the dropout's readers read the stem.
  EXPECT_EQ(inputs["stem"], Values());
  EXPECT_EQ(inputs["inner"], Values());
  EXPECT_EQ(inputs["skip"], Values{1});
  EXPECT_EQ(inputs["sum"], (Values{4, 3, 1}));
  EXPECT_EQ(inputs["again"], Values{0});
  EXPECT_EQ(inputs["all"], (Values{6, 5, 2}));
  EXPECT_EQ(inputs["linear1"], Values());
  EXPECT_EQ(model.layers[7].output, (Shape{4, 3, 20}));
  EXPECT_EQ(model.layers[3].kind, packed::LayerKind::kAffine);
}

TEST(Assemble, PackedWeightsAreTheGivenOnes) {
  const Config config = Small();
  const LayerConfig& conv = config.network.layers[1];
  const packed::Layout layout(conv.kernel, StoredPacking(conv));
  std::vector<LayerWeights> weights(2);
  weights[0].owner_nr = DrawStaticOwners(layout, 3, "conv1");
  std::vector<float> ones(static_cast<size_t>(layout.slots()), 1.0f);
  weights[0].weight_op = packed::Unpack(layout, ones, weights[0].owner_nr);
  weights[0].bias_o.assign(7, 0.5f);
  weights[1].weight_op.assign(static_cast<size_t>(config.network.layers[7].kernel.weights()), 2.0f);
  const std::vector<Affine> affines{{{1, 2}, {3, 4}}};
  const packed::Model model = AssembleModel(config, weights, affines, {"a", "b", "c"}, {});
  const packed::Layer& stored = model.layers[1];
  EXPECT_EQ(packed::Unpack(layout, stored.weight_pnl, stored.owner_nr), weights[0].weight_op);
  EXPECT_EQ(stored.bias_o[6], 0.5f);
  EXPECT_EQ(stored.bias_o[7], 0.0f);  // padding
  EXPECT_EQ(model.layers[0].bias_o[1], 4.0f);

  weights[1].weight_op.pop_back();
  EXPECT_THROW(AssembleModel(config, weights, affines, {}, {}), Error);
}

TEST(Assemble, RandomModelsArePureInTheSeed) {
  const packed::Model a = MakeRandomModel(Small(), 1), b = MakeRandomModel(Small(), 1),
                      c = MakeRandomModel(Small(), 2);
  const auto weights = [](const packed::Model& model) {
    return std::vector<float>(model.layers[1].weight_pnl.begin(), model.layers[1].weight_pnl.end());
  };
  EXPECT_EQ(weights(a), weights(b));
  EXPECT_NE(weights(a), weights(c));
}

TEST(Assemble, EveryFileInConfigsHasARandomModel) {
  for (const char* name :
       {"quickstart", "gsc_dense", "gsc_sparse_dense", "gsc_paper", "gsc_aligned", "gsc_sparser",
        "gsc_pooled", "gsc_fast", "gsc_coarse", "gsc_coarse_dense", "gsc_small_dense", "gsc_ds_cnn",
        "gsc_resnet", "gsc_resnet_sparse", "gsc_mobilenet", "gsc_bc_resnet"}) {
    SCOPED_TRACE(name);
    const Config config = LoadConfig(std::string(BISPARSE_SOURCE_DIR "/configs/") + name + ".yaml");
    const packed::Model model = MakeRandomModel(config, 1);
    EXPECT_EQ(model.output_count(), 10);
    EXPECT_TRUE(model.front_end.has_value());
  }
}

}  // namespace
}  // namespace bisparse::train
