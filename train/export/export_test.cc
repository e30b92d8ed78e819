// SPDX-License-Identifier: Apache-2.0
// The way from a trained network to the engine, in both number formats.
// Past 400 lines: every test takes its own network the same way, by the helpers below.
#include "train/export/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "bisparse/error.h"
#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "tests/resume_kill/write_npy.h"
#include "train/config/assemble.h"
#include "train/config/load.h"
#include "train/export/near_ties.h"
#include "train/export/quantise.h"
#include "train/loop/trained_run.h"
#include "train/loop/trainer.h"

namespace bisparse::train {
namespace {

/// Sizes that don't divide, padding and stride, batch norms that fold and one that can't.
constexpr const char* kConfig = R"(
data: {type: speech_commands, path: unused, words: [a, b, c], unknown: none, silence: none}
front_end: {mels: 14, frames: 16, clip_samples: 8192}
network:
  - conv2d: {channels: 10, kernel: 3, padding: 1, packing: {set_size: 3, lanes: 1}}
  - batch_norm
  - max_pool: {kernel: 2}
  - batch_norm
  - kwta: {winners: 2, groups: 2}
  - conv2d: {channels: 40, kernel: [3, 2], stride: 2, packing: {set_size: 2, lanes: 16, run: {channels: 5, taps: row}}}
  - batch_norm
  - kwta: {winners: 30, scope: global}
  - flatten
  - linear: {units: 70, packing: {set_size: 4, lanes: 8, run: {channels: 3}}}
  - batch_norm
  - relu
  - linear: {units: classes}
)";

struct Trained {
  Config config;
  Network network{nullptr};
  std::vector<float> x_bhwc;

  explicit Trained(int64_t samples, const std::string& text = kConfig)
      : config(ParseConfig(text, "export_test.yaml")) {
    torch::manual_seed(7);
    network = Network(config.network, config.seed);
    CounterRandom random(11, {1});
    x_bhwc.resize(static_cast<size_t>(samples * config.network.input.elements()));
    for (float& x : x_bhwc) x = random.Normal();
    const Shape& input = config.network.input;
    const torch::Tensor x =
        torch::from_blob(x_bhwc.data(), {samples, input.height, input.width, input.channels});
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : network->parameters())
      parameter.add_(0.05 * torch::randn_like(parameter));
    network->train();
    for (int step = 0; step < 20; ++step) network->forward(x);  // statistics of the batch norms
    network->eval();
  }
};

TEST(Export, EveryModeComputesWhatLibTorchComputes) {
  Trained trained(300);
  const packed::Model model = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse, Mode::kAuto}) {
    const Verification v = VerifyModel(model, trained.network, trained.x_bhwc, mode);
    EXPECT_EQ(v.samples, 300);
    EXPECT_EQ(v.top1_differ, 0) << ModeName(mode);
    EXPECT_LT(v.worst_difference, 1e-5) << ModeName(mode);
    EXPECT_NO_THROW(RequireVerified(v)) << ModeName(mode);
  }
}

/// Depthwise separable: strides, padding, dilation, global pooling; 20 channels fill no vector.
constexpr const char* kSeparable = R"(
data: {type: speech_commands, path: unused, words: [a, b, c], unknown: none, silence: none}
front_end: {mels: 14, frames: 16, clip_samples: 8192}
network:
  - conv2d: {channels: 20, kernel: [4, 5], stride: 2, padding: 1}
  - batch_norm
  - relu
  - depthwise_conv2d: {kernel: 3, padding: 1, bias: false}
  - batch_norm
  - relu
  - conv2d: {channels: 36, kernel: 1}
  - batch_norm
  - relu
  - depthwise_conv2d: {kernel: [3, 2], stride: [1, 2], dilation: [1, 3]}
  - batch_norm
  - kwta: {winners: 9}
  - avg_pool: {kernel: 0}
  - flatten
  - linear: {units: classes}
)";

TEST(Export, DepthwiseSeparableNetworksGoTheWholeWay) {
  Trained trained(256, kSeparable);
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  EXPECT_EQ(f32.layers[2].kind, packed::LayerKind::kDepthwiseConv2d);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse, Mode::kAuto}) {
    const Verification v = VerifyModel(f32, trained.network, trained.x_bhwc, mode);
    EXPECT_EQ(v.top1_differ, 0) << ModeName(mode);
    EXPECT_LT(v.worst_difference, 1e-5) << ModeName(mode);
  }
  const packed::Model i8 = QuantiseModel(f32, trained.x_bhwc);
  EXPECT_NO_THROW(RequireDefinition(i8, trained.x_bhwc));
}

/// A residual block with a projection and a k-WTA inside, a gate, a concatenation, a dilated layer of winners; one batch norm
/// is an affine layer.
constexpr const char* kGraph = R"(
data: {type: speech_commands, path: unused, words: [a, b, c], unknown: none, silence: none}
front_end: {mels: 14, frames: 16, clip_samples: 8192}
network:
  - conv2d: {channels: 20, kernel: 3, padding: 1}
  - batch_norm
  - relu: {name: trunk}
  - conv2d: {channels: 48, kernel: 3, stride: 2, padding: 1, packing: {set_size: 2, lanes: 4}}
  - batch_norm
  - kwta: {winners: 12, groups: 6}
  - conv2d: {name: wide, channels: 24, kernel: 3, padding: 2, dilation: 2, packing: {set_size: 2, lanes: 4, run: {channels: 8, taps: row}}}
  - batch_norm: {name: inner}
  - conv2d: {from: trunk, channels: 24, kernel: 1, stride: 2}
  - add: {from: inner}
  - relu: {name: sum}
  - avg_pool: {kernel: 0}
  - multiply: {from: sum}
  - concat: {from: [sum, wide]}
  - kwta: {winners: 9}
  - avg_pool: {kernel: 0}
  - flatten
  - linear: {units: classes}
)";

TEST(Export, GraphsGoTheWholeWay) {
  Trained trained(256, kGraph);
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse, Mode::kAuto}) {
    const Verification v = VerifyModel(f32, trained.network, trained.x_bhwc, mode);
    EXPECT_EQ(v.top1_differ, 0) << ModeName(mode);
    EXPECT_LT(v.worst_difference, 1e-5) << ModeName(mode);
    EXPECT_NO_THROW(RequireVerified(v)) << ModeName(mode);
  }
  // The convolution `wide` has two readers, so the batch norm after it is a layer of its own.
  EXPECT_THAT(Int8Fault(trained.config), testing::HasSubstr("layer 'inner': kind = affine"));
}

TEST(Export, ResidualBlocksGoTheWholeWayInInt8) {
  std::string network = kGraph;
  network.replace(network.find("[sum, wide]"), 11, "[sum, inner]");
  Trained trained(64, network);
  EXPECT_EQ(Int8Fault(trained.config), "");
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  const packed::Model i8 = QuantiseModel(f32, trained.x_bhwc);
  EXPECT_NO_THROW(RequireDefinition(i8, trained.x_bhwc));
}

/// Layer norms of maps and of flat values; ranked by a k-WTA, read by a join, before and after a flatten.
constexpr const char* kNormed = R"(
data: {type: speech_commands, path: unused, words: [a, b, c], unknown: none, silence: none}
front_end: {mels: 14, frames: 16, clip_samples: 8192}
network:
  - conv2d: {channels: 20, kernel: 3, stride: 2, padding: 1}
  - layer_norm: {name: trunk}
  - relu
  - conv2d: {channels: 20, kernel: 3, padding: 1, packing: {set_size: 2, lanes: 2}}
  - layer_norm: {epsilon: 1.0e-3}
  - add: {from: trunk}
  - kwta: {winners: 5, groups: 5}
  - conv2d: {channels: 7, kernel: 1}
  - flatten
  - layer_norm
  - linear: {units: 30}
  - layer_norm
  - relu
  - linear: {units: classes}
)";

TEST(Export, LayerNormsGoTheWholeWay) {
  Trained trained(256, kNormed);
  EXPECT_EQ(Int8Fault(trained.config), "");
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  EXPECT_EQ(f32.layers[4].epsilon, 1e-3f);
  EXPECT_NE(f32.layers[4].weight_pnl[0], 1.0f);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse, Mode::kAuto}) {
    const Verification v = VerifyModel(f32, trained.network, trained.x_bhwc, mode);
    EXPECT_EQ(v.top1_differ, 0) << ModeName(mode);
    EXPECT_LT(v.worst_difference, 1e-5) << ModeName(mode);
    EXPECT_NO_THROW(RequireVerified(v)) << ModeName(mode);
  }
  const packed::Model i8 = QuantiseModel(f32, trained.x_bhwc);
  EXPECT_NO_THROW(RequireDefinition(i8, trained.x_bhwc));
}

TEST(Export, RefusesAModelThatComputesSomethingElse) {
  Trained trained(256);
  packed::Model model = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  packed::Layer& last = model.layers.back();
  std::vector<float> bias(last.bias_o.begin(), last.bias_o.end());
  bias[1] += 0.05f;
  last.bias_o = bias;
  EXPECT_THROW(
      RequireVerified(VerifyModel(model, trained.network, trained.x_bhwc, Mode::kSparseSparse)),
      Error);
}

TEST(Export, RefusesTooManyNearTies) {
  Verification v{.samples = 300, .swapped = 3};
  EXPECT_NO_THROW(RequireVerified(v));
  v.swapped = 4;
  EXPECT_THROW(RequireVerified(v), Error);
}

TEST(Export, RefusesAnInt8ModelThatLosesMoreThanAllowed) {
  const FormatLoss loss{.samples = 1000, .f32_accuracy = 0.961, .i8_accuracy = 0.959};
  EXPECT_NO_THROW(RequireSmallLoss(loss, 0.2, "m.bisparse"));
  try {
    RequireSmallLoss(loss, 0.1, "m.bisparse");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_STREQ(error.what(),
                 "m.bisparse: int8 is right in 95.90 % of 1000 validation samples, f32 in 96.10 %: "
                 "loses 0.20 points (allowed: 0.10); no file was written (hint: --max-loss 0.20, "
                 "or --format f32)");
  }
}

/// The same network without the batch norm that does not fold.
TEST(Export, Int8ComputesItsDefinitionAndLosesLittle) {
  std::string text = kConfig;
  const std::string not_folded = "  - batch_norm\n  - kwta: {winners: 2, groups: 2}\n";
  text.replace(text.find(not_folded), not_folded.size(), "  - kwta: {winners: 2, groups: 2}\n");
  Trained trained(256, text);
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  const packed::Model i8 = QuantiseModel(f32, trained.x_bhwc);
  EXPECT_NO_THROW(RequireDefinition(i8, trained.x_bhwc));
  // f32's own choices as classes: f32 is always right, and int8 wherever it chooses the same.
  LabelledSamples samples{.x_bhwc = trained.x_bhwc};
  const torch::Tensor choice =
      Logits(trained.network, samples.x_bhwc, 256).argmax(1).to(torch::kInt32);
  samples.class_b.assign(choice.data_ptr<int32_t>(), choice.data_ptr<int32_t>() + 256);
  const FormatLoss loss = MeasureLoss(f32, i8, samples);
  EXPECT_EQ(loss.samples, 256);
  EXPECT_GT(loss.f32_accuracy, 0.98);
  // Barely trained, so most choices are close; chance is a third.
  EXPECT_GT(loss.i8_accuracy, 0.8);
}

TEST(Export, Int8NamesTheBatchNormThatDoesNotFold) {
  Trained trained(16);
  const packed::Model f32 = BuildModel(trained.config, trained.network, {"a", "b", "c"}, 0.5);
  try {
    QuantiseModel(f32, trained.x_bhwc);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(error.what(), testing::HasSubstr("layer 'batch_norm2': kind = affine"));
  }
}

/// A run trained on arrays with columns of very unlike ranges; in a folder of its own.
class ArrayRun : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    CounterRandom random(3, {2});
    for (int i = 0; i < 600; ++i) {
      const int label = i % 3;
      for (const double x : {48000.0 + 900 * random.Normal() + (label == 1 ? 2500 : 0),
                             1e-4 * (random.Normal() + 3 * label), 1.0 * random.Normal()}) {
        x_.push_back(static_cast<float>(x));
      }
      y_.push_back(label);
    }
    WriteNpy(X(), "<f4", "(600, 3)", x_);
    WriteNpy(Y(), "<i4", "(600,)", y_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string X() const { return folder_ + "/x.npy"; }
  std::string Y() const { return folder_ + "/y.npy"; }

  /// `names`: the configuration's class_names.
  void TrainRun(const std::string& normalise, const std::string& names) const {
    const Config config = ParseConfig(
        fmt::format("data: {{type: npy, train_x: {}, train_y: {}, input: [1, 1, 3], normalise: {}, "
                    "class_names: {}}}\n"
                    "network: [linear: {{units: 16}}, relu, linear: {{units: 3}}]\n"
                    "train: {{epochs: 6, learning_rate: 0.02, threads: 1, workers: 0}}\n",
                    X(), Y(), normalise, names),
        "arrays.yaml");
    Train(config, {.run_folder = folder_ + "/run"});
  }

  ExportOptions Options() const {
    return {.run = folder_ + "/run", .output = folder_ + "/m.bisparse", .max_loss = 100};
  }

  const std::string folder_ = fmt::format("{}array_run_{}", testing::TempDir(), ::getpid());
  std::vector<float> x_;
  std::vector<int32_t> y_;
};

std::string FaultOf(const std::function<void()>& body, ErrorKind kind) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

TEST_F(ArrayRun, NormalisedColumnsAreDeployedAsTheyWereTrained) {
  TrainRun("column", "[a, b, c]");
  ExportOptions options = Options();
  options.format = packed::NumberFormat::kI8;
  const ExportResult i8 = ExportRun(options);
  // Two classes can be told by columns 0 and 1 alone, whose ranges differ by 10^8.
  EXPECT_GT(i8.loss->f32_accuracy, 0.85);
  EXPECT_GT(i8.loss->i8_accuracy, i8.loss->f32_accuracy - 0.05);
  const packed::Model model = ExportRun(Options()).model;
  ASSERT_EQ(model.layers.front().kind, packed::LayerKind::kAffine);
  EXPECT_EQ(model.layers.front().name, "input.normalise");
  // Raw features in, as a user gives them: the trained network's answers out.
  TrainedRun run = LoadTrainedRun(folder_ + "/run");
  const torch::Tensor expected = Logits(run.network, x_, 600);
  const Engine engine = EngineAccess::FromModel(model, {});
  std::vector<float> logits(3);
  for (int64_t b = 0; b < 600; ++b) {
    engine.Run(std::span(x_).subspan(static_cast<size_t>(b) * 3, 3), logits);
    for (int64_t o = 0; o < 3; ++o) {
      ASSERT_NEAR(logits[static_cast<size_t>(o)], expected[b][o].item<float>(), 1e-3) << b;
    }
  }
}

TEST_F(ArrayRun, TheNamesOfTheDataGoIntoTheModel) {
  TrainRun("column", "[]");
  EXPECT_THAT(ExportRun(Options()).model.class_names, testing::ElementsAre("0", "1", "2"));
}

TEST_F(ArrayRun, SaysWhereTheDataAreNow) {
  TrainRun("column", "[a, b, c]");
  std::filesystem::create_directories(folder_ + "/moved");
  std::filesystem::rename(X(), folder_ + "/moved/x.npy");
  EXPECT_THAT(FaultOf([&] { ExportRun(Options()); }, ErrorKind::kData),
              testing::AllOf(testing::HasSubstr(X() + ": is not there"),
                             testing::HasSubstr("--data x.npy --labels y.npy")));
  ExportOptions options = Options();
  options.data = folder_ + "/moved/x.npy";
  EXPECT_THAT(FaultOf([&] { ExportRun(options); }, ErrorKind::kConfiguration),
              testing::HasSubstr("--labels: missing"));
  options.labels = Y();
  const ExportResult result = ExportRun(options);
  EXPECT_THAT(result.model.class_names, testing::ElementsAre("a", "b", "c"));
  EXPECT_EQ(result.verifications[0].samples, 60);  // held out as in training
  EXPECT_TRUE(std::filesystem::exists(options.output));
  std::swap(options.data, options.labels);
  EXPECT_NE(FaultOf([&] { ExportRun(options); }, ErrorKind::kData), "no error");
}

TEST(Export, FlagsThatDoNotFitTheRunsDataAreRefused) {
  data::DatasetConfig speech, arrays;
  arrays.kind = data::DatasetKind::kNpy;
  const auto fault = [](data::DatasetConfig config, const std::string& data,
                        const std::string& labels) {
    ExportOptions options{.run = "runs/x", .data = data, .labels = labels};
    return FaultOf([&] { RedirectData(options, config); }, ErrorKind::kConfiguration);
  };
  EXPECT_THAT(fault(speech, "set", "y.npy"), testing::HasSubstr("--labels: the run was trained on "
                                                                "recordings"));
  EXPECT_THAT(fault(speech, "x.npy", ""), testing::HasSubstr("--data: the run was trained on"));
  EXPECT_THAT(fault(arrays, "", "y.npy"), testing::HasSubstr("--data: missing"));
  EXPECT_EQ(fault(arrays, "x.npy", "y.npy"), "no error");
  EXPECT_EQ(fault(speech, "set", ""), "no error");
}

TEST(NearTies, AreThoseWithinRounding) {
  const packed::Kwta kwta{.winners = 2};
  const auto tied = [&](std::vector<float> x, float delta) {
    const torch::Tensor row = torch::tensor(x).reshape({1, -1});
    return NearlyTied(row, torch::full_like(row, delta), kwta).item<bool>();
  };
  EXPECT_FALSE(tied({5, 1, 4, 3}, 0.2f));     // 4 − 0.4 > 3 + 0.4
  EXPECT_TRUE(tied({5, 1, 4, 3}, 0.25f));     // 4 − 0.5 = 3 + 0.5
  EXPECT_FALSE(tied({5, -1, -4, -3}, 1.0f));  // losers are zero: harmless
  EXPECT_FALSE(tied({5, 4, 0.1f, 0}, 0.1f));  // a loser within rounding of zero is harmless
  EXPECT_FALSE(tied({5, 4}, 9.0f));           // all win
}

TEST(NearTies, LookAtEachGroupAndPosition) {
  const packed::Kwta kwta{.winners = 2, .groups = 2};
  torch::Tensor map = torch::zeros({2, 4, 1, 2});  // two samples, four channels, two positions
  map.select(1, 0).fill_(3);
  map.select(1, 2).fill_(3);
  map[1][3][0][1] = 2.9f;  // second sample, second position, second group
  const torch::Tensor near = NearlyTied(map, torch::full_like(map, 0.05f), kwta);
  EXPECT_FALSE(near[0].item<bool>());
  EXPECT_TRUE(near[1].item<bool>());
}

/// The bound must hold: rounding in f32 against f64 stays below δ at every layer's end.
TEST(NearTies, LogitsAgreeWithDoublePrecisionOnTheRest) {
  for (const char* network : {kConfig, kGraph, kNormed}) {
    Trained trained(128, network);
    const Shape& input = trained.config.network.input;
    const torch::Tensor x =
        torch::from_blob(trained.x_bhwc.data(), {128, input.height, input.width, input.channels});
    const TracedForward traced = ForwardWithNearTies(trained.network, x);
    const torch::NoGradGuard no_grad;
    EXPECT_LT(traced.nearly_tied_b.sum().item<int64_t>(), 64);
    trained.network->to(torch::kFloat64);
    const torch::Tensor exact = trained.network->forward(x.to(torch::kFloat64));
    const torch::Tensor difference =
        (exact - traced.logits_bo).abs().amax(1).masked_fill(traced.nearly_tied_b, 0);
    const double range = (exact.max() - exact.min()).item<double>();
    EXPECT_LT(difference.max().item<double>(), 1e-5 * range);
  }
}

}  // namespace
}  // namespace bisparse::train
