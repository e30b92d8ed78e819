// SPDX-License-Identifier: Apache-2.0
// Inputs and readers of chains, of a network with branches, and of layers that no model may have.
#include "deploy/packed/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "deploy/packed/example_model.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Model WithInputs(std::vector<std::vector<int32_t>> inputs) {
  Model model;
  for (std::vector<int32_t>& each : inputs) model.layers.emplace_back().inputs = std::move(each);
  return model;
}

TEST(Graph, OfAChain) {
  const Model model = MakeExampleModel(1);
  const Graph graph(model);
  EXPECT_TRUE(graph.IsChain());
  EXPECT_THAT(graph.inputs(0), ElementsAre(-1));
  EXPECT_THAT(graph.readers(-1), ElementsAre(0));
  const auto last = static_cast<int32_t>(model.layers.size()) - 1;
  EXPECT_THAT(graph.inputs(last), ElementsAre(last - 1));
  EXPECT_THAT(graph.readers(last - 1), ElementsAre(last));
  EXPECT_THAT(graph.readers(last), IsEmpty());
  EXPECT_TRUE(Graph(WithInputs({{-1}, {}, {1}})).IsChain());
}

// 0 reads the input, 1 reads 0, 2 joins 1 and 0, 3 joins 2, the input and 2 again.
TEST(Graph, OfBranches) {
  const Graph graph(WithInputs({{}, {}, {1, 0}, {2, -1, 2}}));
  EXPECT_FALSE(graph.IsChain());
  EXPECT_THAT(graph.inputs(1), ElementsAre(0));
  EXPECT_THAT(graph.inputs(2), ElementsAre(1, 0));
  EXPECT_THAT(graph.inputs(3), ElementsAre(2, -1, 2));
  EXPECT_THAT(graph.readers(-1), ElementsAre(0, 3));
  EXPECT_THAT(graph.readers(0), ElementsAre(1, 2));
  EXPECT_THAT(graph.readers(1), ElementsAre(2));
  EXPECT_THAT(graph.readers(2), ElementsAre(3, 3));
  EXPECT_THAT(graph.readers(3), IsEmpty());
}

TEST(Graph, IsNoChainWhereALayerSkipsOne) {
  EXPECT_FALSE(Graph(WithInputs({{}, {-1}})).IsChain());
  EXPECT_FALSE(Graph(WithInputs({{}, {0, 0}})).IsChain());
}

TEST(Graph, ShowsInputsThatDoNotExistAndCountsThemNowhere) {
  const Graph graph(WithInputs({{0, -2, INT32_MIN}, {1, INT32_MAX, 0}}));
  EXPECT_THAT(graph.inputs(0), ElementsAre(0, -2, INT32_MIN));
  EXPECT_THAT(graph.inputs(1), ElementsAre(1, INT32_MAX, 0));
  EXPECT_THAT(graph.readers(-1), IsEmpty());
  EXPECT_THAT(graph.readers(0), ElementsAre(1));
  EXPECT_THAT(graph.readers(1), IsEmpty());
  EXPECT_THAT(Graph(Model{}).readers(-1), IsEmpty());
}

}  // namespace
}  // namespace bisparse::packed
