// SPDX-License-Identifier: Apache-2.0
// What is known of a network's values, and the timing of both ways.
#include "train/nn/ways.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "train/config/load.h"

namespace bisparse::train {
namespace {

Config NetworkOf(const std::string& layers) {
  return ParseConfig(
      "data:\n  type: npy\n  train_x: x.npy\n  train_y: y.npy\n  input: [8, 8, 1]\n"
      "  class_names: [a, b, c]\nnetwork:\n" +
          layers,
      "test.yaml");
}

constexpr char kNetwork[] = R"(
  - conv2d: {name: conv, channels: 8, kernel: 3, packing: {set_size: 2, lanes: 4}}
  - batch_norm: {name: norm}
  - max_pool: {kernel: 2}
  - kwta: {winners: 2, groups: 2}
  - flatten
  - linear: {name: hidden, units: 16, packing: {set_size: 2, lanes: 4}}
  - batch_norm: {name: norm_b}
  - relu
  - linear: {units: classes}
)";

TEST(Ways, GatedValuesAndDensities) {
  const Config config = NetworkOf(kNetwork);
  EXPECT_EQ(GatedValues(config.network),
            (std::vector<bool>{false, false, false, false, true, true, false, false, true, false}));
  const std::vector<double> densities = ValueDensities(config.network);
  EXPECT_DOUBLE_EQ(densities[4], 0.25);
  EXPECT_DOUBLE_EQ(densities[5], 0.25);
  EXPECT_DOUBLE_EQ(densities[6], 1.0);
  EXPECT_DOUBLE_EQ(densities[8], 0.5);
}

TEST(Ways, APoolGoesWithTheBatchNormThatItAloneReads) {
  const Config config = NetworkOf(kNetwork);
  ASSERT_NE(PoolOf(config.network, 1), nullptr);
  EXPECT_EQ(PoolOf(config.network, 1)->kind, LayerKind::kMaxPool);
  EXPECT_EQ(PoolOf(config.network, 6), nullptr);
  const Config branched = NetworkOf(R"(
  - conv2d: {channels: 4, kernel: 3}
  - batch_norm: {name: norm}
  - max_pool: {name: pool, kernel: 3, stride: 1, padding: 1}
  - add: {from: norm}
  - flatten
  - linear: {units: classes}
)");
  EXPECT_EQ(PoolOf(branched.network, 1), nullptr);
  EXPECT_EQ(OnlyReader(branched.network, 1), -1);
  EXPECT_EQ(OnlyReader(branched.network, 2), 3);
}

TEST(Ways, EveryLayerWithWaysIsTimedAndTheFasterOneChosen) {
  const Config config = NetworkOf(kNetwork);
  torch::manual_seed(11);
  const torch::Tensor expected = torch::rand({4});
  torch::manual_seed(11);
  int called = 0;
  const std::vector<LayerWay> ways =
      TimeWays(config.network, {}, 4, /*with_dense=*/true, [&](const LayerWay&) { ++called; });
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected)) << "the generator has moved";
  ASSERT_EQ(ways.size(), 4u);
  EXPECT_EQ(called, 4);
  const char* const names[] = {"conv", "norm", "hidden", "norm_b"};
  for (size_t i = 0; i < ways.size(); ++i) {
    EXPECT_EQ(ways[i].name, names[i]);
    EXPECT_GT(ways[i].packed_ms, 0.0);
    EXPECT_GT(ways[i].masked_ms, 0.0);
    EXPECT_EQ(ways[i].dense_ms > 0.0, i % 2 == 0);  // norms have no owners
    EXPECT_EQ(ways[i].packed, ways[i].packed_ms < ways[i].masked_ms);
  }
}

}  // namespace
}  // namespace bisparse::train
