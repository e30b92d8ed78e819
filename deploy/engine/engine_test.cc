// SPDX-License-Identifier: Apache-2.0
// The engine on random networks against their definitions, in every mode and on every instruction
// set; the same bits for any batch and number of threads; arguments that are refused.
// Past 400 lines: its tests share the models and helpers below.
#include "bisparse/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tbb/global_control.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/cores.h"
#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"
#include "deploy/engine/engine_access.h"
#include "deploy/ops/activation/op.h"
#include "deploy/ops/shared/test_util.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model_file.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"

namespace bisparse {
namespace {

constexpr Mode kModes[] = {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};

std::vector<float> Features(const packed::Model& model, int64_t samples, uint64_t seed,
                            bool exact) {
  CounterRandom random(seed, {1});
  std::vector<float> x(static_cast<size_t>(samples * model.input.elements()));
  for (float& value : x) {
    value = exact ? static_cast<float>(random.Below(7)) - 3.0f : random.Normal();
  }
  return x;
}

/// Float sums of the run are exact in any order; see ReferenceRun. Each average of four divides the
/// unit of the numbers by four.
bool IsExact(const packed::Model& model, const ReferenceRun& run) {
  double unit = 1;
  for (const packed::Layer& layer : model.layers) {
    if (layer.kind == packed::LayerKind::kAvgPool) unit /= 4;
  }
  return run.largest_magnitude < 0x1p24 * unit;
}

/// Every layer of every mode equals the definition, and so do the logits of a plain run.
void CheckAgainstReference(const packed::Model& model, uint64_t seed) {
  const std::vector<float> x = Features(model, 1, seed, true);
  const ReferenceRun reference = RunReference(model, x);
  ASSERT_TRUE(IsExact(model, reference)) << "magnitude " << reference.largest_magnitude;
  for (const Mode mode : kModes) {
    SCOPED_TRACE(ModeName(mode));
    const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
    size_t layers = 0;
    EngineAccess::RunTraced(engine, x, [&](size_t i, std::span<const float> output) {
      ++layers;
      const std::vector<float> ours(output.begin(), output.end());
      ASSERT_EQ(ours, reference.layer_output[i])
          << "layer " << engine.layers()[i].name << ", kernel " << engine.layers()[i].kernel;
    });
    ASSERT_EQ(layers, model.layers.size());
    std::vector<float> logits(static_cast<size_t>(engine.output_count()), NAN);
    engine.Run(x, logits);
    ASSERT_EQ(logits, reference.layer_output.back());
    std::vector<int64_t> layer_ns(model.layers.size());
    std::fill(logits.begin(), logits.end(), NAN);
    engine.RunProfiled(x, logits, layer_ns);
    ASSERT_EQ(logits, reference.layer_output.back());
  }
}

TEST(Engine, EqualsTheDefinitionOnRandomNetworks) {
  for (const uint64_t seed : TestSeeds(150)) {
    const packed::Model model = MakeRandomModel(seed);
    CheckAgainstReference(model, seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Engine, EqualsTheDefinitionOnEveryInstructionSet) {
  kernels::ForEachIsa([] {
    for (const uint64_t seed : TestSeeds(1000, 1030)) {
      CheckAgainstReference(MakeRandomModel(seed, {.graphs = seed % 2 == 0}), seed);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(Engine, EqualsTheDefinitionOnRandomGraphs) {
  for (const uint64_t seed : TestSeeds(200)) {
    CheckAgainstReference(MakeRandomModel(seed, {.graphs = true}), seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

/// Each activation and layer_norm of the engine from what the engine gave its producer.
TEST(Engine, SmoothFunctionsAreTheirDefinitionToEightRoundings) {
  int activations = 0, norms = 0;
  for (const uint64_t seed : TestSeeds(120)) {
    const packed::Model model = MakeRandomModel(seed, {.exact = false, .graphs = seed % 2 == 1});
    const packed::Graph graph(model);
    const std::vector<float> x = Features(model, 1, seed, false);
    const Engine engine = EngineAccess::FromModel(model);
    std::vector<std::vector<float>> outputs;
    EngineAccess::RunTraced(engine, x, [&](size_t i, std::span<const float> output) {
      outputs.emplace_back(output.begin(), output.end());
      const packed::Layer& layer = model.layers[i];
      const bool is_norm = layer.kind == packed::LayerKind::kLayerNorm;
      if (!is_norm && packed::FindActivation(layer.kind) == nullptr) return;
      ++(is_norm ? norms : activations);
      const int32_t value = graph.inputs(static_cast<int64_t>(i))[0];
      const packed::Map<float> input{layer.input,
                                     value < 0 ? x : outputs[static_cast<size_t>(value)]};
      std::vector<float> expected(output.size());
      double unused = 0;
      packed::OperatorOf(layer.kind).run_f32(layer, {&input, 1}, expected, unused);
      for (size_t e = 0; e < expected.size(); ++e) {
        // What a layer_norm adds may cancel; its doubles leave a millionth of a float's rounding.
        const double least = is_norm ? 0x1p-36 : 0x1p-126;
        ASSERT_NEAR(output[e], expected[e], 0x1p-21 * std::abs(expected[e]) + least)
            << layer.name << ", element " << e;
      }
    });
  }
  if (!TestSeedIsGiven()) {
    EXPECT_GT(activations, 20);
    EXPECT_GT(norms, 5);
  }
}

TEST(Engine, EqualsTheDefinitionOnTangledGraphs) {
  for (const uint64_t seed : TestSeeds(150)) {
    CheckAgainstReference(MakeRandomModel(seed, {.graphs = true, .tangled = true}), seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Engine, SameBitsForAnyBatchAndThreads) {
  for (const uint64_t seed : TestSeeds(40)) {
    const packed::Model model = MakeRandomModel(seed, {.exact = false, .graphs = seed % 2 == 1});
    const int64_t samples = 37, inputs = model.input.elements(), outputs = model.output_count();
    const std::vector<float> x = Features(model, samples, seed, false);
    for (const Mode mode : kModes) {
      const Engine one = EngineAccess::FromModel(model, {.threads = 1, .mode = mode});
      std::vector<float> expected(static_cast<size_t>(samples * outputs));
      for (int64_t b = 0; b < samples; ++b) {
        one.Run({x.data() + b * inputs, static_cast<size_t>(inputs)},
                {expected.data() + b * outputs, static_cast<size_t>(outputs)});
      }
      for (const int threads : {1, 2, 3}) {
        const Engine engine = EngineAccess::FromModel(model, {.threads = threads, .mode = mode});
        for (const int64_t batch : {int64_t{1}, int64_t{5}, int64_t{17}, samples}) {
          std::vector<float> y(static_cast<size_t>(batch * outputs), NAN);
          engine.RunBatch({x.data(), static_cast<size_t>(batch * inputs)}, batch, y);
          ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0)
              << ModeName(mode) << " threads " << threads << " batch " << batch;
        }
      }
    }
  }
}

TEST(Engine, SafeForConcurrentCallers) {
  const packed::Model model = packed::MakeExampleModel(1);
  const int64_t samples = 24, outputs = model.output_count();
  const std::vector<float> x = Features(model, samples, 1, false);
  const Engine engine = EngineAccess::FromModel(model, {.threads = 2});
  std::vector<float> expected(static_cast<size_t>(samples * outputs));
  engine.RunBatch(x, samples, expected);
  std::vector<std::thread> callers;
  std::vector<int> wrong(4, -1);
  for (size_t caller = 0; caller < wrong.size(); ++caller) {
    callers.emplace_back([&, caller] {
      wrong[caller] = 0;
      for (int round = 0; round < 20; ++round) {
        std::vector<float> y(expected.size());
        engine.RunBatch(x, samples, y);
        if (std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)) != 0) ++wrong[caller];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Engine, LoadsAFileAndRunsTheSame) {
  const packed::Model model = packed::MakeExampleModel(1);
  const std::string path = testing::TempDir() + "/engine_test_load.bisparse";
  packed::WriteModel(model, path);
  const Engine loaded = Engine::Load(path), built = EngineAccess::FromModel(model);
  const std::vector<float> x = Features(model, 1, 1, false);
  std::vector<float> a(static_cast<size_t>(loaded.output_count())), b(a.size());
  loaded.Run(x, a);
  built.Run(x, b);
  EXPECT_EQ(a, b);
  EXPECT_EQ(loaded.input_shape(), model.input);
  EXPECT_EQ(loaded.class_names(), model.class_names);
  EXPECT_GT(loaded.workspace_bytes(), 0);
  EXPECT_EQ(EngineAccess::model(loaded).name, model.name);
}

template <class Call>
std::string ErrorOf(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

std::vector<float> LogitsOf(const Engine& engine, const std::vector<float>& x) {
  std::vector<float> y(static_cast<size_t>(engine.output_count()), NAN);
  engine.Run(x, y);
  return y;
}

TEST(Engine, IsItsOwnWhateverBecomesOfTheFile) {
  const packed::Model model = packed::MakeExampleModel(1);
  const std::vector<uint8_t> bytes = packed::SerialiseModel(model);
  const std::vector<float> x = Features(model, 1, 1, false);
  const std::string path = testing::TempDir() + "/engine_test_own.bisparse";
  const auto write = [&](const std::vector<uint8_t>& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  };
  for (const Mode mode : kModes) {
    write(bytes);
    const Engine engine = Engine::Load(path, {.mode = mode});
    const std::vector<float> expected = LogitsOf(engine, x);
    write(std::vector<uint8_t>(bytes.size(), 0x3f));  // in place, as `cp` does
    EXPECT_EQ(LogitsOf(engine, x), expected) << ModeName(mode);
    write({});
    EXPECT_EQ(LogitsOf(engine, x), expected) << ModeName(mode);
    std::filesystem::remove(path);
    EXPECT_EQ(LogitsOf(engine, x), expected) << ModeName(mode);
  }
}

TEST(Engine, MapsTheFileWhereAsked) {
  const packed::Model model = packed::MakeExampleModel(1);
  const std::vector<float> x = Features(model, 1, 1, false);
  const std::string path = testing::TempDir() + "/engine_test_mapped.bisparse";
  packed::WriteModel(model, path);
  const Engine engine = Engine::Load(path, {.in_place = true});
  packed::WriteModel(packed::MakeExampleModel(2), path);  // by rename: the old file lives on
  EXPECT_EQ(LogitsOf(engine, x), LogitsOf(EngineAccess::FromModel(model), x));
}

TEST(Engine, LoadsFromMemory) {
  const packed::Model model = packed::MakeExampleModel(1);
  const std::vector<float> x = Features(model, 1, 1, false);
  const std::vector<float> expected = LogitsOf(EngineAccess::FromModel(model), x);
  std::vector<uint8_t> bytes = packed::SerialiseModel(model);
  const Engine copied = Engine::Load(std::as_bytes(std::span(bytes)));
  AlignedBuffer<uint8_t> aligned(bytes.size() + 64);
  std::copy(bytes.begin(), bytes.end(), aligned.begin());
  const std::span<const std::byte> in_place = std::as_bytes(aligned.span().first(bytes.size()));
  const Engine viewing = Engine::Load(in_place, {.in_place = true});
  std::fill(bytes.begin(), bytes.end(), 0);
  EXPECT_EQ(LogitsOf(copied, x), expected);
  EXPECT_EQ(LogitsOf(viewing, x), expected);
  const auto* first = reinterpret_cast<const uint8_t*>(in_place.data());
  const auto* weights =
      reinterpret_cast<const uint8_t*>(EngineAccess::model(viewing).layers[0].weight_pnl.data());
  EXPECT_TRUE(weights > first && weights < first + in_place.size());
  EXPECT_THAT(ErrorOf([&] {
                Engine::Load(std::as_bytes(aligned.span()).subspan(4, bytes.size()),
                             {.in_place = true});
              }),
              testing::HasSubstr("a model in memory: does not begin at a multiple of 64 bytes"));
  try {
    Engine::Load(in_place.first(in_place.size() / 2));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), testing::HasSubstr("a model in memory: payload bytes"));
  }
  EXPECT_THROW(Engine::Load(std::span<const std::byte>()), Error);
}

TEST(Engine, WhatWasMovedFromSaysSo) {
  const packed::Model model = packed::MakeExampleModel(1);
  const std::vector<float> x = Features(model, 1, 1, false);
  Engine from = EngineAccess::FromModel(model);
  const std::vector<float> expected = LogitsOf(from, x);
  Engine to = std::move(from);
  EXPECT_EQ(LogitsOf(to, x), expected);
  std::vector<float> y(expected.size());
  std::vector<int64_t> layer_ns;
  for (const std::function<void()>& use : std::vector<std::function<void()>>{
           [&] { from.Run(x, y); }, [&] { from.RunBatch(x, 1, y); },
           [&] { from.RunBatch({}, 0, {}); }, [&] { from.RunPcm(x, y); },
           [&] { from.ComputeFeatures(x, y); }, [&] { from.RunProfiled(x, y, layer_ns); },
           [&] { from.input_shape(); }, [&] { from.output_count(); }, [&] { from.class_names(); },
           [&] { from.options(); }, [&] { from.layers(); }, [&] { from.workspace_bytes(); },
           [&] { from.sample_rate_hz(); }, [&] { EngineAccess::model(from); },
           [&] { EngineAccess::RunTraced(from, x, [](size_t, std::span<const float>) {}); }}) {
    EXPECT_EQ(ErrorOf(use), "Engine: holds no model: it was moved from");
  }
  from = std::move(to);
  EXPECT_EQ(LogitsOf(from, x), expected);
}

TEST(Engine, ZeroThreadsAreAsManyAsTheHostAllows) {
  const packed::Model model = packed::MakeExampleModel(1);
  const int all = EngineAccess::FromModel(model, {.threads = 0}).options().threads;
  EXPECT_GE(all, 1);
  EXPECT_LE(all, UsableCores());
  const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  EXPECT_EQ(EngineAccess::FromModel(model, {.threads = 0}).options().threads, 1);
}

TEST(Engine, RunsRawSamplesThroughTheModelsFrontEnd) {
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end = FrontEnd{.mel_count = model.input.height, .frame_count = model.input.width};
  const Engine engine = EngineAccess::FromModel(model);
  ASSERT_EQ(engine.sample_rate_hz(), model.front_end->sample_rate_hz);
  CounterRandom random(1, {2});
  std::vector<float> samples(16000), features(static_cast<size_t>(model.input.elements()));
  for (float& sample : samples) sample = random.Uniform() - 0.5f;
  engine.ComputeFeatures(samples, features);
  std::vector<float> from_samples(static_cast<size_t>(engine.output_count()));
  std::vector<float> from_features(from_samples.size());
  engine.RunPcm(samples, from_samples);
  engine.Run(features, from_features);
  EXPECT_EQ(from_samples, from_features);
}

TEST(Engine, SparserModesMultiplyLess) {
  const packed::Model model = packed::MakeExampleModel(1);
  std::vector<int64_t> executed;
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
    executed.push_back(0);
    const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
    for (const LayerSummary& layer : engine.layers()) {
      EXPECT_LE(layer.macs_executed, layer.macs_dense) << layer.name;
      EXPECT_LE(layer.nonzeros, layer.weights_dense) << layer.name;
      executed.back() += layer.macs_executed;
    }
  }
  EXPECT_GT(executed[0], executed[1]);
  EXPECT_GT(executed[1], executed[2]);
}

TEST(Engine, AWorkspaceOfMoreThanAGibibyteIsRefusedBeforeItIsThere) {
  packed::Model model;
  model.name = "large";
  model.input = {1 << 13, 1 << 13, 1};
  packed::Layer kwta;
  kwta.kind = packed::LayerKind::kKwta;
  kwta.name = "kwta";
  kwta.input = kwta.output = model.input;
  kwta.kwta = {.winners = 1, .scope = packed::KwtaScope::kGlobal};
  model.layers = {kwta};
  try {
    EngineAccess::FromModel(model);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), testing::HasSubstr("model 'large': needs a workspace of 10737"));
    EXPECT_THAT(error.what(), testing::HasSubstr("at most 1073741824 are allowed"));
    EXPECT_THAT(error.what(), testing::HasSubstr("layer 'kwta'"));
  }
}

TEST(Engine, RefusesNumbersThatAreNone) {
  using testing::HasSubstr;
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end = FrontEnd{.mel_count = model.input.height, .frame_count = model.input.width};
  for (const Mode mode : kModes) {
    const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
    std::vector<float> x(static_cast<size_t>(model.input.elements()), 0x1p60f), both(2 * x.size());
    std::vector<float> y(static_cast<size_t>(engine.output_count())), two(2 * y.size());
    std::vector<int64_t> layer_ns(model.layers.size());
    std::vector<float> samples(16000, -0x1p40f);
    engine.Run(x, y);
    engine.RunPcm(samples, y);
    for (const float logit : y) EXPECT_TRUE(std::isfinite(logit));
    for (const float wrong : {NAN, INFINITY, -INFINITY, std::nextafter(0x1p60f, INFINITY), 3e38f}) {
      x[5] = both[x.size() + 7] = samples[11] = wrong;
      const auto refuses = [&](const auto& call, const char* message) {
        try {
          call();
          FAIL() << "took " << wrong;
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::kData);
          EXPECT_THAT(error.what(), HasSubstr(message));
        }
      };
      refuses([&] { engine.Run(x, y); }, "Engine::Run: features[5] is ");
      refuses([&] { engine.RunProfiled(x, y, layer_ns); }, "features[5] is ");
      refuses([&] { engine.RunBatch(x, 1, y); }, "Engine::RunBatch: features[5] is ");
      refuses([&] { engine.RunBatch(both, 2, two); }, "Engine::RunBatch: features[71] is ");
      refuses([&] { engine.RunPcm(samples, y); }, "samples[11] is ");
      refuses([&] { engine.ComputeFeatures(samples, x); }, "samples[11] is ");
      refuses([&] { engine.RunPcm({}, y); }, "samples is empty");
      refuses([&] { engine.ComputeFeatures({}, x); }, "samples is empty");
    }
  }
}

TEST(Engine, RefusesLogitsThatLeaveFloats) {
  packed::Model model = packed::MakeExampleModel(1);
  std::vector<float> huge;
  for (packed::Layer& layer : model.layers) {
    if (layer.kind != packed::LayerKind::kLinear) continue;
    huge.assign(layer.weight_pnl.begin(), layer.weight_pnl.end());
    for (float& weight : huge) weight *= 1e30f;
    layer.weight_pnl = huge;
    break;
  }
  const Engine engine = EngineAccess::FromModel(model);
  std::vector<float> x(static_cast<size_t>(model.input.elements()), 1e18f);
  std::vector<float> y(static_cast<size_t>(engine.output_count()));
  try {
    engine.Run(x, y);
    FAIL() << "logits " << y[0];
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), testing::HasSubstr("leave the range of floats"));
  }
}

TEST(Engine, RefusesWrongArgumentsWithNumbers) {
  using testing::HasSubstr;
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end.reset();
  const Engine engine = EngineAccess::FromModel(model);
  std::vector<float> x(static_cast<size_t>(model.input.elements()));
  std::vector<float> y(static_cast<size_t>(engine.output_count())), longer(y.size() + 1);
  EXPECT_THAT(ErrorOf([&] { engine.Run({x.data(), 3}, y); }), HasSubstr("features has 3 floats"));
  EXPECT_THAT(ErrorOf([&] { engine.Run(x, longer); }), HasSubstr("logits has 4 floats"));
  EXPECT_THAT(ErrorOf([&] { engine.RunBatch(x, -1, y); }), HasSubstr("batch = -1"));
  EXPECT_THAT(ErrorOf([&] { engine.RunBatch(x, INT64_MAX, y); }), HasSubstr("batch = 9223"));
  EXPECT_THAT(ErrorOf([&] { engine.RunBatch(x, 2, y); }), HasSubstr("features has 64 floats"));
  EXPECT_THAT(ErrorOf([&] { engine.RunPcm(x, y); }), HasSubstr("no front end"));
  std::vector<int64_t> layer_ns(1);
  EXPECT_THAT(ErrorOf([&] { engine.RunProfiled(x, y, layer_ns); }), HasSubstr("has 1 entries"));
  EXPECT_THAT(ErrorOf([&] { EngineAccess::FromModel(model, {.threads = -1}); }),
              HasSubstr("threads = -1"));
  EXPECT_THAT(ErrorOf([] { ParseMode("fast"); }), HasSubstr("'fast'"));
  engine.RunBatch({}, 0, {});
}

}  // namespace
}  // namespace bisparse
