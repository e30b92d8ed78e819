// SPDX-License-Identifier: Apache-2.0
// Layers computed as the caller says, whatever that does to their neighbours; never slower than dense by what is
// expected; choices that are refused.
#include "deploy/engine/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/random_model.h"
#include "deploy/packed/example_model.h"

namespace bisparse {
namespace {

constexpr Mode kWays[] = {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};

std::vector<float> Logits(const packed::Model& model, const EngineOptions& options) {
  CounterRandom random(7, {3});
  std::vector<float> x(static_cast<size_t>(model.input.elements()));
  for (float& value : x) value = static_cast<float>(random.Below(7)) - 3.0f;
  const Engine engine = EngineAccess::FromModel(model, options);
  std::vector<float> y(static_cast<size_t>(engine.output_count()));
  engine.Run(x, y);
  return y;
}

TEST(Choose, AnyMixtureOfWaysGivesTheSameBits) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const packed::Model model = seed % 2 == 0 ? MakeRandomModel(seed) : MakeRandomI8Model(seed);
    CounterRandom random(seed, {4});
    EngineOptions options;
    for (const packed::Layer& layer : model.layers) {
      if (random.Below(4) != 0) options.choices.push_back({layer.name, kWays[random.Below(3)], ""});
    }
    // Sums of the random networks are exact, so modes agree in every bit.
    EXPECT_EQ(Logits(model, options), Logits(model, {.mode = Mode::kDense})) << "seed " << seed;
  }
}

TEST(Choose, ReadsTheMapWhereThatIsExpectedToBeFaster) {
  int found = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    const packed::Model model = MakeRandomModel(seed);
    const Engine engine = EngineAccess::FromModel(model);
    const bool whole =
        std::any_of(engine.layers().begin(), engine.layers().end(), [](const LayerSummary& layer) {
          return layer.reason.find("us by conv_packed_f32/scattered") != std::string::npos ||
                 layer.reason.ends_with("/winners");
        });
    if (!whole) continue;
    ++found;
    EXPECT_EQ(Logits(model, {}), Logits(model, {.mode = Mode::kDense})) << "seed " << seed;
  }
  EXPECT_GE(found, 3);
}

TEST(Choose, ThreadsThatShareALayerGiveTheSameBits) {
  std::set<std::string> shared;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    // Sums that are not exact: another order of summation would show.
    const packed::Model model =
        seed % 2 == 0 ? MakeRandomModel(seed, {.exact = false}) : MakeRandomI8Model(seed);
    for (const Mode mode : kWays) {
      const EngineOptions two{.threads = 2, .mode = mode, .parallel_us = 0};
      const Engine engine = EngineAccess::FromModel(model, two);
      for (const LayerSummary& layer : engine.layers()) {
        if (layer.parallel) shared.insert(layer.kernel);
      }
      EXPECT_EQ(Logits(model, two), Logits(model, {.mode = mode}))
          << "seed " << seed << ", " << ModeName(mode);
    }
  }
  if (Engine(EngineAccess::FromModel(MakeRandomModel(0), {.threads = 2})).options().threads < 2) {
    GTEST_SKIP() << "one core";
  }
  EXPECT_THAT(shared,
              testing::IsSupersetOf(
                  {"conv_dense_f32", "conv_packed_f32/lanes", "conv_packed_f32/aligned_taps",
                   "conv_packed_f32/scattered", "conv_quads_i8/dense", "conv_quads_i8/winners",
                   "conv_quads_i8/gathered_dense", "conv_quads_i8/gathered_winners",
                   "conv_quads_i8/sets_dense", "depthwise_f32", "linear_dense_f32",
                   "linear_packed_f32/dense", "linear_packed_f32/winners", "matmul_i8/conv",
                   "matmul_i8/linear"}));
}

TEST(Choose, SmallLayersAreNotShared) {
  const Engine engine = EngineAccess::FromModel(packed::MakeExampleModel(1), {.threads = 2});
  for (const LayerSummary& layer : engine.layers()) EXPECT_FALSE(layer.parallel) << layer.name;
}

TEST(Choose, FollowsAChoiceAndSaysItsReason) {
  const packed::Model model = packed::MakeExampleModel(1);
  const EngineOptions options{.choices = {{"conv2", Mode::kDense, "measured: so"}}};
  const Engine engine = EngineAccess::FromModel(model, options);
  for (const LayerSummary& layer : engine.layers()) {
    if (layer.name != "conv2") continue;
    EXPECT_EQ(layer.kernel, "conv_dense_f32");
    EXPECT_EQ(layer.reason, "measured: so");
  }
  // A mode for all layers is stronger.
  const Engine sparse =
      EngineAccess::FromModel(model, {.mode = Mode::kSparseSparse, .choices = options.choices});
  EXPECT_THAT(
      sparse.layers(),
      testing::Not(testing::Contains(testing::Field(&LayerSummary::kernel, "conv_dense_f32"))));
}

TEST(Choose, RefusesALayerThatTheModelLacks) {
  try {
    EngineAccess::FromModel(packed::MakeExampleModel(1),
                            {.choices = {{"conv9", Mode::kDense, ""}}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(error.what(), testing::HasSubstr("'conv9'"));
  }
}

/// What the layers with weights and the max-pools that some of them do are expected to take.
double ExpectedUs(const packed::Model& model, Mode mode) {
  const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
  double us = 0;
  for (const LayerSummary& layer : engine.layers()) {
    if (layer.kind != "kwta") us += layer.expected_us;
  }
  return us;
}

TEST(Choose, AutoIsExpectedToBeNoSlowerThanAnyMode) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const packed::Model model = seed % 2 == 0 ? MakeRandomModel(seed) : MakeRandomI8Model(seed);
    const double automatic = ExpectedUs(model, Mode::kAuto);
    for (const Mode mode : kWays) {
      EXPECT_LE(automatic, 1.001 * ExpectedUs(model, mode))
          << "seed " << seed << ", " << ModeName(mode);
    }
  }
}

}  // namespace
}  // namespace bisparse
