// SPDX-License-Identifier: Apache-2.0
// Every peer that is built and installed computes the networks that ours does, for any batch and
// number of threads; the ones that are not are skipped with their reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "apps/peers/network.h"
#include "apps/peers/peer.h"
#include "bisparse/error.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "deploy/packed/example_model.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"
#include "train/config/assemble.h"
#include "train/config/load.h"
#ifdef BISPARSE_HAVE_ONNX
#include "apps/peers/onnx_writer.h"
#endif

namespace bisparse::peers {
namespace {

packed::Model ConfigModel(const std::string& name) {
  const train::Config config =
      train::LoadConfig(std::string(BISPARSE_SOURCE_DIR "/configs/") + name);
  return train::MakeRandomModel(config, 3);
}

std::vector<float> Samples(const packed::Model& model, int64_t samples) {
  CounterRandom random(9, {});
  std::vector<float> x_bi(static_cast<size_t>(samples * model.input.elements()));
  for (float& x : x_bi) x = random.Normal();
  return x_bi;
}

class PeerTest : public testing::TestWithParam<std::string> {
 protected:
  /// StartPeers compares the outputs; a peer is left out only where it is not installed.
  void ExpectAgreement(const packed::Model& model, int threads, int64_t batch) {
    const auto x_bi = Samples(model, 20 + batch);
    for (PeerResult& result : StartPeers({GetParam()}, model, x_bi, threads, batch)) {
      if (result.missing) GTEST_SKIP() << result.reason;
      ASSERT_NE(result.peer, nullptr) << result.reason;
      EXPECT_LE(result.difference, AllowedDifference(result.name)) << result.name;
      for (const double us : result.peer->TimeCalls(1000)) EXPECT_GT(us, 0) << result.name;
    }
  }
};

TEST_P(PeerTest, AgreesOnTheExample) {
  ExpectAgreement(packed::MakeExampleModel(1), 1, 1);
  if (!IsSkipped()) ExpectAgreement(packed::MakeExampleModel(2), 2, 3);
}

TEST_P(PeerTest, AgreesOnASparseConfiguration) {
  ExpectAgreement(ConfigModel("quickstart.yaml"), 1, 1);
  if (!IsSkipped()) ExpectAgreement(ConfigModel("quickstart.yaml"), 2, 7);
}

TEST_P(PeerTest, AgreesOnADenseConfiguration) {
  ExpectAgreement(ConfigModel("gsc_dense.yaml"), 2, 4);
}

TEST_P(PeerTest, AgreesOnDepthwiseConvolutionsAndGlobalPooling) {
  ExpectAgreement(ConfigModel("gsc_ds_cnn.yaml"), 1, 2);
}

TEST_P(PeerTest, AgreesOnAGraph) {
  const train::Config config = train::ParseConfig(R"(
data: {type: npy, train_x: x, train_y: y, input: [9, 8, 3], class_names: [a, b, c, d]}
network:
  - conv2d: {channels: 16, kernel: 3, padding: 1}
  - relu: {name: trunk}
  - conv2d: {channels: 32, kernel: 3, stride: 2, padding: 1}
  - relu
  - conv2d: {name: inner, channels: 32, kernel: 3, padding: 1}
  - conv2d: {from: trunk, channels: 32, kernel: 1, stride: 2}
  - add: {from: inner}
  - relu: {name: sum}
  - avg_pool: {kernel: 0}
  - linear: {name: gate, units: 32}
  - relu
  - multiply: {from: sum}
  - max_pool: {name: row, kernel: [5, 1], stride: 1}
  - add: {name: rows, from: sum}
  - concat: {name: all, from: [sum, inner]}
  - conv2d: {channels: 24, kernel: 1}
  - relu
  - flatten
  - linear: {units: classes}
)",
                                                  "graph.yaml");
  ExpectAgreement(train::MakeRandomModel(config, 4), 1, 1);
  if (!IsSkipped()) ExpectAgreement(train::MakeRandomModel(config, 5), 2, 3);
}

TEST_P(PeerTest, AgreesOnLayerNorms) {
  const train::Config config = train::ParseConfig(R"(
data: {type: npy, train_x: x, train_y: y, input: [6, 5, 4], class_names: [a, b, c, d]}
network:
  - layer_norm: {epsilon: 0.25}
  - conv2d: {channels: 6, kernel: 3}
  - layer_norm: {name: a}
  - relu
  - conv2d: {channels: 6, kernel: 3, padding: 1}
  - add: {from: a}
  - flatten
  - layer_norm
  - linear: {units: 9}
  - layer_norm
  - relu
  - linear: {units: classes}
)",
                                                  "norms.yaml");
  packed::Model model = train::MakeRandomModel(config, 4);
  CounterRandom random(6, {});
  std::vector<float> numbers(72);
  for (float& x : numbers) x = 0.5f + random.Uniform();
  for (packed::Layer& layer : model.layers) {
    if (layer.kind != packed::LayerKind::kLayerNorm) continue;
    const auto channels = static_cast<size_t>(layer.input.channels);
    layer.weight_pnl = std::span(numbers).first(channels);
    layer.bias_o = std::span(numbers).last(channels);
  }
  ExpectAgreement(model, 1, 1);
  if (!IsSkipped()) ExpectAgreement(model, 2, 3);
}

TEST_P(PeerTest, AgreesOnRandomNetworks) {
  for (uint64_t seed = 1; seed <= 20 && !IsSkipped(); ++seed) {
    SCOPED_TRACE(seed);
    ExpectAgreement(MakeRandomModel(seed, {.exact = false, .smooth = false}), 1, 3);
  }
}

TEST_P(PeerTest, AgreesOnRandomGraphs) {
  int joins = 0;
  for (uint64_t seed = 1; seed <= 12 && !IsSkipped(); ++seed) {
    SCOPED_TRACE(seed);
    const packed::Model model =
        MakeRandomModel(seed, {.exact = false, .graphs = true, .smooth = false});
    DenseNetwork network;
    try {
      network = MakeDenseNetwork(WithReluForKwta(model));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);  // flattened maps
      continue;
    }
    for (const DenseLayer& layer : network.layers) joins += layer.inputs.size() > 1;
    ExpectAgreement(model, 1, 3);
  }
  EXPECT_TRUE(IsSkipped() || joins >= 8) << joins;
}

INSTANTIATE_TEST_SUITE_P(Peers, PeerTest, testing::ValuesIn(PeerEngines()),
                         [](const auto& test) { return test.param; });

#ifdef BISPARSE_HAVE_ONNX
/// k-WTA as TopK: whole numbers, so ranks are exact and ties abound; ONNX Runtime must choose the
/// winners that the definition does.
TEST(OnnxFile, ComputesKwta) {
  const std::string folder = testing::TempDir();
  int kwta_layers = 0;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    const packed::Model model = MakeRandomModel(seed);
    const DenseNetwork network = MakeDenseNetwork(model);
    CounterRandom random(seed, {1});
    std::vector<float> x_bi(static_cast<size_t>(3 * model.input.elements()));
    for (float& x : x_bi) x = static_cast<float>(random.Below(7)) - 3.0f;
    WriteFileAtomically(folder + "/kwta.onnx", OnnxFile(network));
    const auto x_bcyx = ChannelsFirst(x_bi, model.input);
    WriteFileAtomically(folder + "/kwta.f32", std::as_bytes(std::span(x_bcyx)));
    std::unique_ptr<Peer> peer;
    try {
      const Shape& in = model.input;
      peer = std::make_unique<Peer>(
          "onnxruntime",
          std::vector<std::string>{"node", BISPARSE_SOURCE_DIR "/apps/peers/onnxruntime.js",
                                   folder + "/kwta.onnx", folder + "/kwta.f32", "1", "2",
                                   std::to_string(in.channels), std::to_string(in.height),
                                   std::to_string(in.width)},
          1);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kConfiguration) GTEST_SKIP() << error.what();
      throw;
    }
    const auto elements = static_cast<size_t>(model.input.elements());
    std::vector<double> expected;
    for (size_t b = 0; b < 2; ++b) {
      const auto run = RunReference(model, std::span(x_bi).subspan(b * elements, elements));
      expected.insert(expected.end(), run.layer_output.back().begin(),
                      run.layer_output.back().end());
    }
    EXPECT_EQ(peer->Run(0), expected);
    for (const DenseLayer& layer : network.layers) {
      kwta_layers += layer.kind == packed::LayerKind::kKwta;
    }
  }
  EXPECT_GT(kwta_layers, 25);
}
#endif

TEST(OutputDifference, IsAFractionOfOurRange) {
  const std::vector<float> ours = {-1, 3, 0};
  const auto difference = [&](std::vector<double> theirs) {
    return OutputDifference(ours, theirs);
  };
  EXPECT_EQ(difference({-1, 3, 0}), 0);
  EXPECT_EQ(difference({-1, 2, 0.5}), 0.25);
  EXPECT_EQ(difference({-1, 3}), INFINITY);
  EXPECT_EQ(difference({-1, 3, std::nan("")}), INFINITY);
}

TEST(Peer, SaysWhyAProgramIsNoPeer) {
  using testing::HasSubstr;
  EXPECT_THAT([] { Peer("nobody", {"/nonexistent/peer"}, 1); },
              testing::ThrowsMessage<Error>(HasSubstr("nobody: /nonexistent/peer")));
  EXPECT_THAT([] { Peer("silent", {"true"}, 1); },
              testing::ThrowsMessage<Error>(HasSubstr("ended without an answer")));
  EXPECT_THAT(
      [] {
        Peer("talker", {"echo", "hello"}, 1);
      },
      testing::ThrowsMessage<Error>(HasSubstr("no JSON")));
}

}  // namespace
}  // namespace bisparse::peers
