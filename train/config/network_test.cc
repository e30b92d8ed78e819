// SPDX-License-Identifier: Apache-2.0
#include "train/config/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "bisparse/error.h"
#include "train/config/graph.h"
#include "train/config/load.h"

namespace bisparse::train {
namespace {

using testing::HasSubstr;

std::string FaultsOf(const std::string& layers) {
  try {
    ParseConfig("data: {words: [a, b, c]}\nnetwork:\n" + layers, "c.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Network, StridesPaddingAndWindowsRoundDown) {
  const Config config = ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 8, kernel: [3, 5], stride: [2, 3], padding: [1, 2]}
  - avg_pool: {kernel: 3, stride: 2}
  - flatten
  - linear: {units: classes}
)",
                                    "");
  EXPECT_EQ(config.network.layers[0].output, (Shape{16, 11, 8}));
  EXPECT_EQ(config.network.layers[1].output, (Shape{7, 5, 8}));
  EXPECT_EQ(config.network.layers[2].output, (Shape{1, 1, 280}));
  EXPECT_EQ(config.network.layers[3].kernel, (packed::KernelShape{5, 280, 1, 1}));
}

TEST(Network, DilationsSpreadTheTapsAndConv1dRunsAlongTheWidth) {
  const Config config = ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 8, kernel: 3, dilation: [2, 1], padding: [4, 0]}
  - depthwise_conv2d: {kernel: [1, 3], dilation: [1, 4], padding: [0, 4]}
  - conv1d: {channels: 6, kernel: 5, stride: 2, dilation: 3, padding: 1}
  - flatten
  - linear: {units: classes}
)",
                                    "");
  const std::vector<LayerConfig>& layers = config.network.layers;
  EXPECT_EQ(layers[0].output, (Shape{36, 30, 8}));
  EXPECT_EQ(layers[1].output, (Shape{36, 30, 8}));
  EXPECT_EQ(layers[2].name, "conv1d1");
  EXPECT_EQ(layers[2].output, (Shape{36, 10, 6}));
  EXPECT_EQ(layers[2].kernel, (packed::KernelShape{6, 8, 1, 5}));
}

TEST(Network, DepthwiseKeepsChannelsAndAPoolOfZeroTakesTheWholeMap) {
  const Config config = ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 8, kernel: 3}
  - depthwise_conv2d: {kernel: [3, 5], stride: [2, 1], padding: 1}
  - batch_norm
  - avg_pool: {kernel: [0, 4]}
  - max_pool: {kernel: 0}
  - flatten
  - linear: {units: classes}
)",
                                    "");
  const std::vector<LayerConfig>& layers = config.network.layers;
  EXPECT_EQ(layers[1].name, "dw1");
  EXPECT_EQ(layers[1].output, (Shape{15, 28, 8}));
  EXPECT_EQ(layers[1].kernel, (packed::KernelShape{8, 1, 3, 5}));
  EXPECT_TRUE(FoldTarget(config.network, 2).has_value());
  EXPECT_EQ(layers[3].output, (Shape{1, 7, 8}));
  EXPECT_EQ(layers[3].window.stride_h, 15);
  EXPECT_EQ(layers[4].output, (Shape{1, 1, 8}));
}

TEST(Network, LayerNormHasAnEpsilonAlone) {
  const Config config = ParseConfig(R"(data: {words: [a, b, c]}
network:
  - conv2d: {channels: 8, kernel: 3}
  - layer_norm
  - flatten
  - layer_norm: {name: units, epsilon: 0.25}
  - linear: {units: classes}
)",
                                    "");
  const std::vector<LayerConfig>& layers = config.network.layers;
  EXPECT_EQ(layers[1].name, "layer_norm1");
  EXPECT_EQ(layers[1].output, layers[0].output);
  EXPECT_EQ(layers[1].epsilon, 1e-5);
  EXPECT_EQ(layers[3].name, "units");
  EXPECT_EQ(layers[3].epsilon, 0.25);
  EXPECT_THAT(FaultsOf("  - layer_norm\n  - flatten\n  - linear: {units: classes}\n"),
              HasSubstr("c.yaml:3:5: layer_norm1 normalises over the channels of the input, which "
                        "has 1: its output would be the same for all inputs"));
  EXPECT_THAT(FaultsOf("  - flatten\n  - linear: {units: 1}\n  - layer_norm\n"),
              HasSubstr("c.yaml:5:5: layer_norm1 normalises over the channels of linear1"));
  EXPECT_THAT(FaultsOf("  - layer_norm: {momentum: 0.1}\n"),
              HasSubstr("c.yaml:3:18: layer_norm1.momentum"));
  for (const char* epsilon : {"0", "-1.0e-5", "1.0e-13", "1.5", ".nan", ".inf"}) {
    EXPECT_THAT(FaultsOf(std::string("  - layer_norm: {epsilon: ") + epsilon + "}\n"),
                HasSubstr("c.yaml:3:27: layer_norm1.epsilon = "))
        << epsilon;
  }
}

TEST(Network, ImpossibleShapesAreTold) {
  EXPECT_THAT(FaultsOf("  - depthwise_conv2d: {kernel: 3, channels: 8}\n"), HasSubstr("channels"));
  EXPECT_THAT(FaultsOf("  - depthwise_conv2d: {kernel: 0}\n"), HasSubstr("1 … 4096"));
  EXPECT_EQ(FaultsOf("  - depthwise_conv2d: {kernel: 33}\n"),
            "c.yaml:3:32: dw1.kernel = [33, 33] is larger than its input of 32×32 (hint: "
            "fewer pools before it, or padding)");
  EXPECT_EQ(FaultsOf("  - conv2d: {channels: 8, kernel: 33}\n"),
            "c.yaml:3:35: conv1.kernel = [33, 33] is larger than its input of 32×32 (hint: fewer "
            "pools before it, or padding)");
  EXPECT_THAT(FaultsOf("  - max_pool: {kernel: 2, padding: 2}\n"), HasSubstr("padding only"));
  EXPECT_THAT(FaultsOf("  - max_pool: {kernel: 2, dilation: 2}\n"), HasSubstr("dilation"));
  EXPECT_THAT(FaultsOf("  - conv2d: {channels: 8, kernel: 3, dilation: 0}\n"),
              HasSubstr("1 … 4096"));
  EXPECT_THAT(FaultsOf("  - conv1d: {channels: 8, kernel: [1, 3]}\n"), HasSubstr("whole number"));
  EXPECT_EQ(FaultsOf("  - conv1d: {channels: 8, kernel: 5, dilation: 8}\n"),
            "c.yaml:3:35: conv1d1.kernel = [1, 5] dilated to [1, 33] is larger than its input of "
            "32×32 (hint: fewer pools before it, or padding)");
  EXPECT_EQ(
      FaultsOf("  - linear: {units: classes}\n"),
      "c.yaml:3:5: linear1 needs a flat input, got 32×32×1 (hint: put `- flatten` before it)");
  EXPECT_EQ(FaultsOf("  - flatten\n  - linear: {units: 7}\n"),
            "c.yaml:4:5: linear1 gives 7 outputs for 5 classes (hint: units: classes)");
}

TEST(Network, KwtaFaults) {
  const std::string conv = "  - conv2d: {channels: 64, kernel: 5}\n";
  const std::string end = "  - flatten\n  - linear: {units: classes}\n";
  EXPECT_EQ(FaultsOf(conv + "  - kwta: {winners: 300}\n" + end),
            "c.yaml:4:21: kwta1.winners = 300 exceeds the 64 channels of conv1 (hint: winners per "
            "position, not per cent)");
  EXPECT_EQ(FaultsOf(conv + "  - kwta: {winners: 300, scope: global}\n" + end), "");
  EXPECT_THAT(FaultsOf(conv + "  - kwta: {winners: 9, groups: 8}\n" + end),
              HasSubstr("kwta1.winners = 9 cannot be shared equally by 8 groups"));
  EXPECT_THAT(FaultsOf(conv + "  - kwta: {winners: 6, groups: 6}\n" + end),
              HasSubstr("kwta1.groups = 6 does not cut the 64 channels of conv1"));
  EXPECT_THAT(FaultsOf(conv + "  - kwta: {winners: 17, chunk: 4}\n" + end),
              HasSubstr("kwta1.winners = 17 exceeds the 16 chunks of conv1"));
  EXPECT_THAT(FaultsOf(conv + "  - kwta: {winners: 8, winners_start: 4}\n" + end),
              HasSubstr("winners_start = 4 is below winners = 8"));
}

TEST(Network, PackingFaults) {
  const std::string end = "  - flatten\n  - linear: {units: classes}\n";
  EXPECT_THAT(
      FaultsOf("  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 4, owners: learned, "
               "learning: {anneal_until: 0.7}}}\n" +
               end),
      HasSubstr("conv1.packing.learning.anneal_until = 0.7 exceeds freeze_at = 0.6"));
  EXPECT_EQ(
      FaultsOf("  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 8, lanes: 16}}\n" + end),
      "c.yaml:3:59: conv1.packing.set_size = 8 exceeds the 4 kernels of conv1 (lanes: 16) "
      "(hint: a set would never be full)");
  EXPECT_THAT(
      FaultsOf("  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 6, run: {taps: row}}}\n" +
               end),
      HasSubstr("set_size = 6 exceeds the 5 runs of conv1"));
  EXPECT_THAT(
      FaultsOf(
          "  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 3, run: {channels: 2}}}\n" +
          end),
      HasSubstr("run.channels = 2 exceeds the 1 channels that conv1 reads"));
}

TEST(Network, ShapeFaultsOfLaterLayersAreToldTogether) {
  const std::string message = FaultsOf(
      "  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 99}}\n  - kwta: {winners: 65}\n"
      "  - max_pool: {kernel: 40}\n");
  EXPECT_THAT(message, HasSubstr("conv1.packing.set_size = 99"));
  EXPECT_THAT(message, HasSubstr("kwta1.winners = 65 exceeds"));
  EXPECT_THAT(message, HasSubstr("max_pool1.kernel = [40, 40] is larger"));
}

TEST(Network, AFaultInTheDataHidesNoShapeFault) {
  try {
    ParseConfig(
        "data: {words: [a], augment: {gain_db: -1}}\nnetwork:\n  - flatten\n  - linear: {units: "
        "7}\n",
        "c.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("gain_db = -1 is out of range"));
    EXPECT_THAT(error.what(), HasSubstr("linear1 gives 7 outputs for 3 classes"));
  }
}

TEST(Network, HugeSizesAreRefusedNotOverflown) {
  EXPECT_THAT(FaultsOf("  - conv2d: {channels: 65536, kernel: 1, padding: 0}\n"
                       "  - conv2d: {channels: 65536, kernel: 1}\n"),
              HasSubstr("conv2 brings the network to 4295032832 weights (outputs padded to 16), a "
                        "model has at most 268435456"));
  EXPECT_THAT(FaultsOf("  - conv2d: {channels: 1024, kernel: 11, padding: 5}\n"
                       "  - conv2d: {channels: 1024, kernel: 11, padding: 5}\n"),
              HasSubstr("conv2 brings the network to"));
  EXPECT_THAT(FaultsOf("  - conv2d: {channels: 65536, kernel: 2, padding: 1}\n"),
              HasSubstr("conv1 gives 33×33×65536, more than 67108864 elements"));
}

TEST(Network, WhatAModelFileCannotHoldIsAFault) {
  const auto fault = [](const std::string& names, const std::string& rest = "") {
    try {
      ParseConfig(rest + "data: {words: [a, " + names +
                      "]}\nnetwork: [flatten, linear: {units: classes}]\n",
                  "c.yaml");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string most(256, 'x');
  EXPECT_EQ(fault(most), "");
  EXPECT_EQ(fault(most + "x"),
            "c.yaml:1:15: data.words lists a name of 257 bytes, a model file holds names of at "
            "most 256");
  EXPECT_THAT(fault("b", "name: " + most + "x\n"), HasSubstr("c.yaml:1:7: name has 257 bytes"));
  std::string layers = "  - flatten\n";
  for (int i = 0; i < 4094; ++i) layers += "  - relu\n";
  EXPECT_EQ(FaultsOf(layers + "  - linear: {units: classes}\n"),
            "c.yaml:3:3: network has 4096 layers, a model file holds at most 4095");
}

TEST(Network, ABatchOfOneHasNoVarianceToNormaliseBy) {
  const auto fault = [](const std::string& batch, const std::string& layers) {
    return FaultsOf(layers + "  - linear: {units: classes}\ntrain: {batch_size: " + batch + "}\n");
  };
  const std::string flat = "  - flatten\n  - linear: {units: 4}\n  - batch_norm\n  - relu\n";
  EXPECT_THAT(fault("1", flat),
              HasSubstr("train.batch_size = 1 gives batch_norm1 one value for each channel, which "
                        "has no variance (hint: 2 or more)"));
  EXPECT_EQ(fault("2", flat), "");
  // Of a map it has one for each place.
  EXPECT_EQ(fault("1", "  - conv2d: {channels: 4, kernel: 5}\n  - batch_norm\n  - flatten\n"), "");
}

TEST(Network, UnitsThatOnlyTheDataKnowSaysWhatToDo) {
  try {
    ParseConfig("network: [flatten, linear: {units: classes}]\n", "c.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("linear1.units = classes needs data.words (hint: list them "
                                        "there, or give their number, units: 3; the names are then "
                                        "the data set's)"));
  }
}

TEST(Network, BatchNormFoldsOnlyRightAfterWeights) {
  const Config config = ParseConfig(R"(data: {words: [a, b, c]}
network:
  - batch_norm
  - conv2d: {channels: 8, kernel: 5}
  - dropout
  - batch_norm
  - max_pool: {kernel: 2}
  - batch_norm
  - flatten
  - linear: {units: classes}
)",
                                    "");
  EXPECT_FALSE(FoldTarget(config.network, 0).has_value());
  EXPECT_TRUE(FoldTarget(config.network, 3).has_value());
  EXPECT_FALSE(FoldTarget(config.network, 5).has_value());
  EXPECT_FALSE(FoldTarget(config.network, 1).has_value());
}

}  // namespace
}  // namespace bisparse::train
