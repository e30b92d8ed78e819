// SPDX-License-Identifier: Apache-2.0
// int8 engines give the bits of the number format's definition: every layer and the logits of random
// networks, in every mode, on every instruction set, for any batch and number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"
#include "deploy/engine/engine_access.h"
#include "deploy/ops/shared/test_util.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"

namespace bisparse {
namespace {

constexpr Mode kModes[] = {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};

std::vector<float> Features(const packed::Model& model, int64_t samples, uint64_t seed) {
  CounterRandom random(seed, {2});
  std::vector<float> x(static_cast<size_t>(samples * model.input.elements()));
  for (float& value : x) value = random.Normal();
  return x;
}

void CheckAgainstReference(const packed::Model& model, uint64_t seed) {
  const std::vector<float> x = Features(model, 1, seed);
  const ReferenceRunI8 reference = RunReferenceI8(model, x);
  for (const Mode mode : kModes) {
    SCOPED_TRACE(ModeName(mode));
    const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
    const std::vector<packed::Quantisation> steps_v = packed::Quantisations(model);
    size_t layers = 0;
    EngineAccess::RunTraced(engine, x, [&](size_t i, std::span<const float> output) {
      ++layers;
      const packed::Layer& layer = model.layers[i];
      const auto [scale, zero] = steps_v[i + 1];
      if (scale == 0) return;  // logits are compared below
      ASSERT_EQ(output.size(), reference.layer_output[i].size());
      for (size_t e = 0; e < output.size(); ++e) {
        ASSERT_EQ(output[e], scale * static_cast<float>(reference.layer_output[i][e] - zero))
            << "layer '" << layer.name << "' (" << packed::LayerKindName(layer.kind) << ", "
            << engine.layers()[i].kernel << "), element " << e;
      }
    });
    ASSERT_EQ(layers, model.layers.size());
    std::vector<float> logits(static_cast<size_t>(engine.output_count()));
    engine.Run(x, logits);
    ASSERT_EQ(logits, reference.logits);
  }
}

TEST(EngineI8, RandomNetworksEqualTheDefinitionOnEveryIsa) {
  kernels::ForEachIsa([] {
    for (const uint64_t seed : TestSeeds(150)) {
      CheckAgainstReference(MakeRandomI8Model(seed), seed);
      CheckAgainstReference(MakeRandomI8Model(seed, {.graphs = true}), seed);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

// A relu that only k-WTAs read is done by them: of a signed map they need its zero, not the relu's.
TEST(EngineI8, TangledGraphsEqualTheDefinition) {
  for (const uint64_t seed : TestSeeds(300)) {
    CheckAgainstReference(MakeRandomI8Model(seed, {.graphs = true, .tangled = true}), seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(EngineI8, PlansSayWhyALayerNormIsNotInIntegers) {
  int norms = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Engine engine = EngineAccess::FromModel(MakeRandomI8Model(seed, {.graphs = true}));
    for (const LayerSummary& layer : engine.layers()) {
      if (layer.kind != "layer_norm") continue;
      ++norms;
      EXPECT_EQ(layer.kernel, "layer_norm_u8");
      EXPECT_EQ(layer.reason, "computed in floating point: int8 has no exact mean and deviation");
      EXPECT_EQ(layer.weight_bytes, 8 * layer.input.channels);
    }
  }
  EXPECT_GT(norms, 0);
}

/// Logits of 33 samples together, and of a clip where the model has a front end.
std::vector<float> AllLogits(const Engine& engine, const std::vector<float>& x,
                             const std::vector<float>& clip) {
  const auto outputs = static_cast<size_t>(engine.output_count());
  std::vector<float> logits(34 * outputs);
  engine.RunBatch(x, 33, std::span(logits).first(33 * outputs));
  if (engine.sample_rate_hz() > 0) engine.RunPcm(clip, std::span(logits).subspan(33 * outputs));
  return logits;
}

/// In every mode of floats: set before the engine is loaded, and after it.
template <class Load>
void CheckFloatModes(const Load& load, int64_t elements) {
  CounterRandom random(1, {3});
  std::vector<float> x(static_cast<size_t>(33 * elements)), clip(16000);
  for (float& value : x) value = random.Normal();
  for (float& value : clip) value = random.Uniform() - 0.5f;
  for (const Mode mode : kModes) {
    const EngineOptions options{.threads = 2, .mode = mode, .parallel_us = 0};
    const Engine before = load(options);
    const std::vector<float> expected = AllLogits(before, x, clip);
    std::vector<std::vector<float>> logits;
    kernels::ForEachFloatMode([&] {
      logits.push_back(AllLogits(before, x, clip));
      logits.push_back(AllLogits(load(options), x, clip));
    });
    for (size_t i = 0; i < logits.size(); ++i) {
      EXPECT_EQ(logits[i], expected) << ModeName(mode) << ", mode of floats " << i / 2;
    }
  }
}

TEST(EngineI8, SameBitsInEveryModeOfFloats) {
  for (const uint64_t seed : TestSeeds(10)) {
    const packed::Model model = MakeRandomI8Model(seed);
    CheckFloatModes([&](const EngineOptions& o) { return EngineAccess::FromModel(model, o); },
                    model.input.elements());
  }
  const std::filesystem::path folder = std::filesystem::path(BISPARSE_SOURCE_DIR) / "models";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().stem().string().ends_with("_int8")) continue;
    SCOPED_TRACE(entry.path().string());
    ++files;
    const int64_t elements = Engine::Load(entry.path()).input_shape().elements();
    CheckFloatModes([&](const EngineOptions& o) { return Engine::Load(entry.path(), o); },
                    elements);
  }
  EXPECT_GE(files, 8);
}

TEST(EngineI8, SameBitsForAnyBatchAndNumberOfThreads) {
  for (const uint64_t seed : TestSeeds(20)) {
    const packed::Model model =
        MakeRandomI8Model(seed, {.graphs = seed % 2 == 1, .tangled = seed % 4 == 3});
    const int64_t batch = seed == 0 ? 300 : 37;  // the largest blocks too
    const std::vector<float> x = Features(model, batch, seed);
    const Engine one = EngineAccess::FromModel(model),
                 two = EngineAccess::FromModel(model, {.threads = 2, .parallel_us = 0});
    const auto floats = static_cast<size_t>(model.input.elements());
    const auto outputs = static_cast<size_t>(one.output_count());
    std::vector<float> single(batch * outputs), together(batch * outputs);
    for (size_t b = 0; b < static_cast<size_t>(batch); ++b) {
      one.Run(std::span(x).subspan(b * floats, floats),
              std::span(single).subspan(b * outputs, outputs));
    }
    two.RunBatch(x, batch, together);
    EXPECT_EQ(single, together);
  }
}

}  // namespace
}  // namespace bisparse
