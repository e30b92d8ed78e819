// SPDX-License-Identifier: Apache-2.0
// Networks as graphs: names and shapes, faults with their places, what a batch norm folds into, the printed form.
#include "train/config/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bisparse/error.h"
#include "train/config/describe.h"
#include "train/config/load.h"
#include "train/config/print.h"

namespace bisparse::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Values = std::vector<int32_t>;

Config Parse(const std::string& layers, const std::vector<std::string>& overrides = {}) {
  return ParseConfig("data: {words: [a, b, c]}\nnetwork:\n" + layers, "c.yaml", overrides);
}

std::string FaultsOf(const std::string& layers, const std::vector<std::string>& overrides = {}) {
  try {
    Parse(layers, overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

constexpr const char* kEnd = "  - flatten\n  - linear: {units: classes}\n";

/// A residual block with a projection, a gate of one position, and a concatenation.
const std::string kGraph = std::string(R"(  - conv2d: {channels: 8, kernel: 3, padding: 1}
  - batch_norm
  - relu: {name: trunk}
  - conv2d: {channels: 16, kernel: 3, stride: 2, padding: 1}
  - batch_norm: {name: main}
  - conv2d: {name: shortcut, from: trunk, channels: 16, kernel: 1, stride: 2}
  - add: {from: main}
  - relu: {name: sum}
  - avg_pool: {name: gate, kernel: 0}
  - multiply: {from: sum}
  - concat: {from: [sum, main]}
  - avg_pool: {kernel: 0}
)") + kEnd;

TEST(Graph, NamesBecomeIndicesAndShapesFollow) {
  const Config config = Parse(kGraph);
  const std::vector<LayerConfig>& layers = config.network.layers;
  EXPECT_EQ(layers[0].inputs, (Values{-1}));
  EXPECT_EQ(layers[5].inputs, (Values{2}));
  EXPECT_EQ(layers[5].input, (Shape{32, 32, 8}));
  EXPECT_EQ(layers[6].name, "add1");
  EXPECT_EQ(layers[6].inputs, (Values{5, 4}));
  EXPECT_EQ(layers[6].output, (Shape{16, 16, 16}));
  // The full map comes first, whichever the configuration names.
  EXPECT_EQ(layers[9].inputs, (Values{7, 8}));
  EXPECT_EQ(layers[9].output, (Shape{16, 16, 16}));
  EXPECT_EQ(layers[10].inputs, (Values{9, 7, 4}));
  EXPECT_EQ(layers[10].output, (Shape{16, 16, 48}));
  EXPECT_FALSE(IsChain(config.network));
  EXPECT_EQ(InputNames(config.network, 10), "multiply1, sum, main");
  EXPECT_EQ(InputNames(config.network, 0), "input");
  EXPECT_THAT(CountReaders(config.network), ElementsAre(1, 1, 2, 1, 2, 1, 1, 3, 1, 1, 1, 1, 1, 0));
}

TEST(Graph, AChainReadsTheLayerBefore) {
  const Config config = Parse(kEnd);
  EXPECT_TRUE(IsChain(config.network));
  EXPECT_EQ(config.network.layers[1].inputs, (Values{0}));
}

TEST(Graph, TheInputCanBeReadByName) {
  const Config config =
      Parse("  - conv2d: {channels: 1, kernel: 1}\n  - add: {from: input}\n" + std::string(kEnd));
  EXPECT_EQ(config.network.layers[1].inputs, (Values{0, -1}));
}

TEST(Graph, MultiplyMaySquare) {
  const Config config = Parse("  - relu: {name: a}\n  - multiply: {from: a}\n" + std::string(kEnd));
  EXPECT_EQ(config.network.layers[1].inputs, (Values{0, 0}));
}

TEST(Graph, FaultsOfNamesAreToldTogetherWithTheirPlaces) {
  EXPECT_EQ(
      FaultsOf(R"(  - conv2d: {name: trunk, channels: 8, kernel: 1}
  - relu: {from: trnk}
  - relu: {from: late}
  - relu: {name: self, from: self}
  - add: {from: [trunk, self, self]}
  - add
  - add: {from: []}
  - relu: {from: [trunk, self]}
  - concat: {from: [trunk, {a: b}]}
  - relu: {name: late}
)"),
      "c.yaml:4:18: relu1.from = trnk is the name of no layer (hint: did you mean trunk?)\n"
      "c.yaml:5:18: relu2.from = late stands later, at line 12: a layer reads what stands before "
      "it\n"
      "c.yaml:6:30: self.from = self is the layer itself\n"
      "c.yaml:7:25: add1.from = self is read already: it stands directly before (hint: leave it "
      "out)\n"
      "c.yaml:7:31: add1.from = self is read already: it stands directly before (hint: leave it "
      "out)\n"
      "c.yaml:8:5: add2.from is missing\n"
      "c.yaml:9:17: add3.from is a list where the name of a layer is wanted, or several: [a, b]\n"
      "c.yaml:10:18: relu4.from is a list where the name of one layer is wanted (hint: add, "
      "multiply and concat read several)\n"
      "c.yaml:11:28: concat1.from is a map where the name of a layer is wanted");
}

TEST(Graph, ALayerReadsABoundedNumberOfValues) {
  const auto squares = [](size_t times) {
    std::string names = "a";
    for (size_t i = 1; i < times; ++i) names += ", a";
    return "  - relu: {name: a}\n  - multiply: {from: [" + names + "]}\n" + kEnd;
  };
  EXPECT_EQ(FaultsOf(squares(static_cast<size_t>(packed::kMaxInputs) - 1)), "");
  EXPECT_EQ(FaultsOf(squares(packed::kMaxInputs)),
            "c.yaml:4:22: multiply1.from makes it read 65 values, at most 64 are allowed");
}

TEST(Graph, FaultsOfShapesAreToldAtTheName) {
  EXPECT_EQ(
      FaultsOf("  - conv2d: {name: a, channels: 8, kernel: 3}\n"
               "  - conv2d: {name: b, from: input, channels: 16, kernel: 3}\n"
               "  - add: {from: a}\n" +
               std::string(kEnd)),
      "c.yaml:5:17: add1.from does not fit: a gives 30×30×8, b gives 30×30×16; add wants equal "
      "channels, and equal heights and widths or 1 (hint: a conv2d with kernel: 1 on one of them)");
  EXPECT_EQ(
      FaultsOf("  - conv2d: {name: a, channels: 8, kernel: 3}\n"
               "  - max_pool: {name: b, kernel: 2}\n"
               "  - concat: {from: [input, a]}\n" +
               std::string(kEnd)),
      "c.yaml:5:21: concat1.from does not fit: the input gives 32×32×1, b gives 15×15×8; concat "
      "wants equal heights and widths (hint: a conv2d with kernel: 1 on one of them)\n"
      "c.yaml:5:28: concat1.from does not fit: a gives 30×30×8, b gives 15×15×8; concat wants "
      "equal "
      "heights and widths (hint: a conv2d with kernel: 1 on one of them)");
  // The value before is the one that does not fit: the name of the larger map is the place.
  EXPECT_THAT(
      FaultsOf("  - conv2d: {name: a, channels: 8, kernel: 3}\n"
               "  - max_pool: {name: b, kernel: 2}\n"
               "  - multiply: {from: a}\n" +
               std::string(kEnd)),
      HasSubstr("c.yaml:5:22: multiply1.from does not fit: b gives 15×15×8, a gives 30×30×8"));
}

TEST(Graph, AValueThatNobodyReads) {
  EXPECT_EQ(
      FaultsOf("  - conv2d: {name: a, channels: 8, kernel: 3}\n  - relu\n"
               "  - relu: {name: b, from: a}\n" +
               std::string(kEnd)),
      "c.yaml:4:5: relu1 gives a value that no layer reads (hint: from: relu1 where it is wanted, "
      "or leave the layer out)");
  // Where a name is misspelt, the value that it meant is not told.
  EXPECT_THAT(
      FaultsOf(
          "  - relu: {name: lost}\n  - conv2d: {name: a, from: lots, channels: 8, kernel: 3}\n" +
          std::string(kEnd)),
      testing::Not(HasSubstr("no layer reads")));
}

TEST(Graph, ALayerCalledInputIsNotReadByThatName) {
  EXPECT_EQ(FaultsOf("  - relu: {name: input}\n" + std::string(kEnd)), "");
  EXPECT_THAT(
      FaultsOf("  - relu: {name: input}\n  - relu\n  - add: {from: input}\n" + std::string(kEnd)),
      HasSubstr("c.yaml:5:17: add1.from = input is the network's input and the name of a layer"));
}

TEST(Graph, OverridesReachFrom) {
  const std::string layers =
      "  - relu: {name: a}\n  - relu: {name: b}\n  - add: {from: b}\n" + std::string(kEnd);
  EXPECT_THAT(FaultsOf(layers), HasSubstr("it stands directly before"));
  const Config config = Parse(layers, {"network.2.add.from=a"});
  EXPECT_EQ(config.network.layers[2].inputs, (Values{1, 0}));
  EXPECT_EQ(FaultsOf(layers, {"network.2.add.from=xyz"}),
            "--set network.2.add.from=xyz: add1.from = xyz is the name of no layer (hint: `name:` "
            "gives a layer one)");
}

TEST(Graph, KwtaNamesTheLayerWhoseChannelsItRanks) {
  EXPECT_THAT(FaultsOf("  - conv2d: {name: a, channels: 8, kernel: 1}\n  - conv2d: {name: b, from: "
                       "input, channels: 8, kernel: 1}\n"
                       "  - add: {name: sum, from: a}\n  - relu\n  - kwta: {winners: 9}\n" +
                       std::string(kEnd)),
              HasSubstr("kwta1.winners = 9 exceeds the 8 channels of sum"));
}

TEST(FoldTarget, IsTheLayerWithWeightsThatNothingElseReads) {
  const Config config = Parse(kGraph);
  EXPECT_EQ(FoldTarget(config.network, 1), std::optional<size_t>(0));
  EXPECT_EQ(FoldTarget(config.network, 4), std::optional<size_t>(3));
  EXPECT_EQ(FoldTarget(config.network, 2), std::nullopt);
  // conv1 has a second reader; so has the dropout after conv2; conv3's is alone, though it is not the layer before.
  const Config shared = Parse(R"(  - conv2d: {channels: 8, kernel: 1}
  - batch_norm: {name: a}
  - conv2d: {channels: 8, kernel: 1}
  - dropout: {name: half}
  - batch_norm: {name: b}
  - conv2d: {channels: 8, kernel: 1}
  - dropout: {name: once}
  - relu: {name: other, from: half}
  - batch_norm: {name: c, from: once}
  - add: {from: [other, conv1]}
)" + std::string(kEnd));
  EXPECT_EQ(FoldTarget(shared.network, 1), std::nullopt);
  EXPECT_EQ(FoldTarget(shared.network, 4), std::nullopt);
  EXPECT_EQ(FoldTarget(shared.network, 8), std::optional<size_t>(5));
}

TEST(PrintConfig, ReadsBackAGraph) {
  const Config config = Parse(kGraph);
  const std::string text = PrintConfig(config);
  EXPECT_THAT(text, HasSubstr("      from: [sum, main]\n"));
  EXPECT_THAT(text, HasSubstr("      from: trunk\n"));
  EXPECT_EQ(ParseConfig(text, "c.yaml").network, config.network);
  EXPECT_THAT(PrintConfig(Parse(kEnd)), testing::Not(HasSubstr("      from: ")));
}

TEST(Describe, SaysWhatEachLayerReadsThatIsNotTheLineBefore) {
  const std::string text = DescribeNetwork(Parse(kGraph));
  std::vector<std::string> reads;
  for (size_t at = text.find(" reads "); at != std::string::npos;
       at = text.find(" reads ", at + 1)) {
    const size_t line = text.rfind('\n', at) + 1;
    reads.push_back(text.substr(line, text.find(' ', line) - line) + ":" +
                    text.substr(at + 6, text.find('\n', at) - at - 6));
  }
  EXPECT_THAT(reads, ElementsAre("shortcut: trunk", "add1: shortcut, main", "multiply1: sum, gate",
                                 "concat1: multiply1, sum, main"));
  EXPECT_THAT(DescribeNetwork(Parse(kEnd)), testing::Not(HasSubstr(" reads ")));
}

TEST(Describe, ActivityOfJoinedValues) {
  const Config config = Parse(R"(  - conv2d: {channels: 8, kernel: 1}
  - kwta: {name: a, winners: 2}
  - conv2d: {channels: 8, kernel: 1}
  - kwta: {name: b, winners: 4}
  - add: {name: sum, from: a}
  - multiply: {name: product, from: a}
  - concat: {name: all, from: [a, sum]}
)" + std::string(kEnd));
  const std::vector<LayerSummary> rows = SummariseNetwork(config);
  EXPECT_DOUBLE_EQ(rows[4].output_density, 0.75);
  EXPECT_DOUBLE_EQ(rows[5].output_density, 0.25);
  EXPECT_DOUBLE_EQ(rows[6].output_density, (0.25 + 0.25 + 0.75) / 3);
}

}  // namespace
}  // namespace bisparse::train
