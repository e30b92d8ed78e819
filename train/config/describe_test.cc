// SPDX-License-Identifier: Apache-2.0
#include "train/config/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "train/config/load.h"

namespace bisparse::train {
namespace {

std::vector<LayerSummary> Summary(const std::string& name) {
  return SummariseNetwork(
      LoadConfig(std::string(BISPARSE_SOURCE_DIR "/configs/") + name + ".yaml"));
}

int64_t NonZeros(const std::vector<LayerSummary>& rows) {
  int64_t sum = 0;
  for (const LayerSummary& row : rows) sum += row.nonzeros;
  return sum;
}

const LayerSummary& Row(const std::vector<LayerSummary>& rows, const std::string& name) {
  for (const LayerSummary& row : rows) {
    if (row.name == name) return row;
  }
  throw std::out_of_range(name);
}

// Derived by hand from the paper's topology with ten classes.
TEST(Describe, TheDenseNetworksNumbers) {
  const auto rows = Summary("gsc_dense");
  EXPECT_EQ(Row(rows, "conv1").macs_dense, 28 * 28 * 64 * 25);
  EXPECT_EQ(Row(rows, "conv2").macs_dense, 10 * 10 * 64 * 1600);
  EXPECT_EQ(Row(rows, "linear1").macs_dense, 1600 * 1500);
  EXPECT_EQ(NonZeros(rows), 1600 + 102400 + 2400000 + 15000);
  EXPECT_EQ(Row(rows, "linear2").macs_sparse_sparse, 15000);
}

TEST(Describe, ThePapersNonZeros) {
  const auto rows = Summary("gsc_paper");
  EXPECT_EQ(NonZeros(rows), 1600 + 12800 + 96000 + 15000);
  EXPECT_EQ(Row(rows, "linear1").nonzeros, 96000);
  EXPECT_EQ(Row(rows, "linear1").macs_sparse_sparse, 96000 / 8);  // 200 of 1600 inputs
  EXPECT_NEAR(Row(rows, "kwta1").output_density, 6.0 / 64, 1e-12);
}

TEST(Describe, TheAlignedNetworkStaysBelow150Thousand) {
  const auto rows = Summary("gsc_aligned");
  EXPECT_LE(NonZeros(rows), 150000);
  EXPECT_EQ(Row(rows, "conv1").nonzeros, 1600 / 4);
  EXPECT_EQ(Row(rows, "conv2").nonzeros, 1600 * 16);
  EXPECT_NEAR(Row(rows, "kwta3").output_density, 0.1, 1e-12);
  EXPECT_LE(NonZeros(Summary("gsc_sparse_dense")), 150000);
}

TEST(Describe, SaysWhetherInt8CanHoldTheNetwork) {
  const auto text = [](const std::string& layers, const std::string& normalise = "none") {
    return DescribeNetwork(ParseConfig(
        "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [1, 1, 7], class_names: [a, b],"
        " normalise: " +
            normalise + "}\nnetwork: [" + layers + "]\n",
        "c.yaml"));
  };
  const std::string can = "int8: bisparse-export --format int8 can hold it.\n";
  const std::string rest = "linear: {units: 4}, relu, linear: {units: classes}";
  EXPECT_TRUE(text(rest).ends_with(can));
  EXPECT_TRUE(text("batch_norm, " + rest).ends_with(can));
  EXPECT_TRUE(text(rest, "column").ends_with(can));
  EXPECT_THAT(text(rest, "column"),
              testing::HasSubstr("channels), normalised by column, 2 outputs"));
  EXPECT_THAT(text("batch_norm, " + rest, "column"),
              testing::HasSubstr("would refuse it: layer 'batch_norm1': kind = affine"));
  EXPECT_TRUE(text("linear: {units: 4}, linear: {units: classes}").ends_with(can));
  EXPECT_TRUE(text("layer_norm, linear: {units: 4}, layer_norm, " + rest).ends_with(can));
  EXPECT_THAT(text(rest + ", layer_norm"),
              testing::HasSubstr("would refuse it: layer 'layer_norm1': kind = layer_norm"));
  EXPECT_THAT(text("linear: {name: a, units: 2}, linear: {from: input, units: 2}, add: {from: a}"),
              testing::HasSubstr("would refuse it: layer 'add1': kind = add"));
}

TEST(Describe, APoolAfterKwtaRaisesTheDensity) {
  const auto rows = SummariseNetwork(ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 32, kernel: 5}
  - kwta: {winners: 4}
  - max_pool: {kernel: 2}
  - flatten
  - linear: {units: classes}
)",
                                                 ""));
  EXPECT_DOUBLE_EQ(rows[1].output_density, 0.125);
  EXPECT_DOUBLE_EQ(rows[2].output_density, 0.5);
  EXPECT_DOUBLE_EQ(rows[4].input_density, 0.5);
}

TEST(Describe, ANormHasTwoParametersForEachChannel) {
  const auto rows = SummariseNetwork(ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 32, kernel: 5}
  - layer_norm
  - batch_norm
  - batch_norm: {affine: false}
  - flatten
  - linear: {units: classes}
)",
                                                 ""));
  EXPECT_EQ(rows[1].parameters, 64);
  EXPECT_EQ(rows[1].output_density, 1.0);
  EXPECT_EQ(rows[2].parameters, 64);
  EXPECT_EQ(rows[3].parameters, 0);
}

TEST(Describe, TheTableHasTotals) {
  const std::string table =
      DescribeNetwork(LoadConfig(BISPARSE_SOURCE_DIR "/configs/gsc_paper.yaml"));
  EXPECT_THAT(table, testing::HasSubstr("gsc_paper: input 32×32×1"));
  EXPECT_THAT(table, testing::HasSubstr("125,400"));
  EXPECT_THAT(table, testing::HasSubstr("total"));
}

}  // namespace
}  // namespace bisparse::train
