// SPDX-License-Identifier: Apache-2.0
// Layers computed as the caller says, whatever that does to their neighbours; on no machine expected to be slower than any
// mode; plans as they were outlined; choices that are refused.
#include "deploy/engine/choose.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/machines.h"
#include "deploy/engine/plan.h"
#include "deploy/ops/lists.h"
#include "deploy/ops/shared/test_util.h"
#include "deploy/packed/example_model.h"
#include "deploy/reference/random_model.h"

namespace bisparse {
namespace {

constexpr Mode kWays[] = {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};

/// f32 and int8 in turn; every third pair are graphs.
packed::Model AnyModel(uint64_t seed) {
  const RandomModelOptions options{.graphs = seed / 2 % 3 == 2};
  return seed % 2 == 0 ? MakeRandomModel(seed, options) : MakeRandomI8Model(seed, options);
}

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
  for (const uint64_t seed : TestSeeds(200)) {
    const packed::Model model = AnyModel(seed);
    CounterRandom random(seed, {4});
    EngineOptions options;
    for (const packed::Layer& layer : model.layers) {
      if (random.Below(4) != 0) options.choices.push_back({layer.name, kWays[random.Below(3)], ""});
    }
    // Sums of the random networks are exact, so modes agree in every bit.
    EXPECT_EQ(Logits(model, options), Logits(model, {.mode = Mode::kDense}));
  }
}

/// What is chosen for another machine, as choices that run here.
std::vector<LayerChoice> ChoicesFor(const packed::Model& model, const CostMachine& machine) {
  const ChosenWays ways = ChooseWays(Outline(model, machine.isa), {}, machine);
  std::vector<LayerChoice> choices;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    choices.push_back({model.layers[i].name, ways.mode_i[i], ways.reason_i[i]});
  }
  return choices;
}

TEST(Choose, ReadsTheMapWhereThatIsExpectedToBeFaster) {
  for (const KnownMachine& machine : kMachines) {
    int found = 0;
    for (const uint64_t seed : TestSeeds(300)) {
      const packed::Model model = MakeRandomModel(seed);
      const std::vector<LayerChoice> choices = ChoicesFor(model, machine.machine());
      const bool whole = std::any_of(choices.begin(), choices.end(), [](const LayerChoice& choice) {
        return choice.reason.ends_with("us by conv_packed_f32/scattered") ||
               choice.reason.ends_with("/winners");
      });
      if (!whole || ++found > 5) continue;
      EXPECT_EQ(Logits(model, {.choices = choices}), Logits(model, {.mode = Mode::kDense}))
          << machine.name;
    }
    if (!TestSeedIsGiven()) {
      EXPECT_GE(found, 3) << machine.name;
    }
  }
}

/// Some kernels are made for AVX-512 with VNNI (the convolution by taps with lanes of their own, depthwise columns), or for
/// any SIMD at all.
bool RunsHere(const ops::Kernel& kernel) {
  const std::string best = kernels::AvailableIsas().front();
  const std::string_view name = kernel.name();
  if (kernels::IsAvx3Dl(best)) return true;
  return name != "depthwise_i8/columns" && !name.starts_with("conv_taps_i8");
}

TEST(Choose, PlansAreAsTheyWereOutlined) {
  std::set<std::string> kernels;
  kernels::ForEachIsa([&] {
    for (const uint64_t seed : TestSeeds(300)) {
      const packed::Model model = AnyModel(seed);
      CounterRandom random(seed, {5});
      EngineOptions options{.mode = seed % 5 == 0 ? kWays[seed % 3] : Mode::kAuto};
      for (const packed::Layer& layer : model.layers) {
        if (random.Below(3) != 0) {
          options.choices.push_back({layer.name, kWays[random.Below(3)], ""});
        }
      }
      const CostMachine machine = kMachines[random.Below(std::size(kMachines))].machine();
      const CostMachine here{.isa = kernels::IsaName(), .caches = machine.caches};
      const Plan plan = MakePlan(model, options, true, here);
      const Outline outline(model, here.isa);
      const std::vector<ops::Use> use_i = outline.Uses(ChooseWays(outline, options, here).mode_i);
      const std::vector<double> cycles_i = NetworkCycles(model, use_i, here);
      for (size_t i = 0; i < model.layers.size(); ++i) {
        SCOPED_TRACE(fmt::format("layer {}", i));
        EXPECT_EQ(plan.layers[i].kernel, use_i[i].kernel ? use_i[i].kernel->name() : "none");
        EXPECT_EQ(plan.layers[i].active_inputs, use_i[i].active_inputs);
        EXPECT_DOUBLE_EQ(plan.layers[i].expected_us * 1e3 * kNominalGhz, cycles_i[i]);
        kernels.insert(plan.layers[i].kernel);
      }
    }
  });
  if (TestSeedIsGiven()) return;
  EXPECT_GE(kernels.size(), 25u);
}

TEST(Choose, RandomNetworksReachEveryEntry) {
  std::set<std::string> kernels;
  kernels::ForEachIsa([&] {
    for (uint64_t seed = 0; seed < 440; ++seed) {
      // Activations make sums inexact.
      const packed::Model model =
          seed < 400 ? AnyModel(seed)
                     : MakeRandomModel(seed, {.exact = false, .graphs = seed % 2 == 0});
      for (const Mode mode : kWays) {
        const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
        for (const LayerSummary& layer : engine.layers()) kernels.insert(layer.kernel);
      }
    }
  });
  for (const packed::NumberFormat format :
       {packed::NumberFormat::kF32, packed::NumberFormat::kI8}) {
    for (const ops::Kernel* kernel : ops::AllKernels(format)) {
      if (!RunsHere(*kernel)) continue;
      EXPECT_TRUE(kernels.contains(kernel->name())) << kernel->name();
    }
  }
}

TEST(Choose, ReportsDenseTimesOfAPlanInModeDense) {
  for (const uint64_t seed : TestSeeds(60)) {
    const packed::Model model = AnyModel(seed);
    const CostMachine machine{.isa = kernels::IsaName(), .caches = {}};
    const Plan automatic = MakePlan(model, {}, true, machine);
    const Plan dense = MakePlan(model, {.mode = Mode::kDense}, true, machine);
    for (size_t i = 0; i < model.layers.size(); ++i) {
      EXPECT_DOUBLE_EQ(automatic.layers[i].dense_us, dense.layers[i].expected_us) << "layer " << i;
    }
  }
}

TEST(Choose, ThreadsThatShareALayerGiveTheSameBits) {
  std::set<std::string> shared;
  for (const uint64_t seed : TestSeeds(600)) {
    // Sums that are not exact: another order of summation would show.
    const packed::Model model =
        seed % 2 == 0 ? MakeRandomModel(seed, {.exact = false, .graphs = seed % 3 == 0})
                      : MakeRandomI8Model(seed, {.graphs = seed % 3 == 0});
    for (const Mode mode : kWays) {
      const EngineOptions two{.threads = 2, .mode = mode, .parallel_us = 0};
      const Engine engine = EngineAccess::FromModel(model, two);
      for (const LayerSummary& layer : engine.layers()) {
        if (layer.parallel) shared.insert(layer.kernel);
      }
      EXPECT_EQ(Logits(model, two), Logits(model, {.mode = mode})) << ModeName(mode);
    }
  }
  if (TestSeedIsGiven()) return;
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

TEST(Choose, AutoIsExpectedToBeNoSlowerThanAnyModeOnAnyMachine) {
  int mixed = 0;
  for (const uint64_t seed : TestSeeds(400)) {
    const packed::Model model = AnyModel(seed);
    for (const KnownMachine& known : kMachines) {
      const CostMachine machine = known.machine();
      const Outline outline(model, machine.isa);
      const double automatic = ExpectedCycles(outline, {}, machine);
      bool below = true;
      for (const Mode mode : kWays) {
        const double single = ExpectedCycles(outline, {.mode = mode}, machine);
        EXPECT_LE(automatic, single) << ModeName(mode) << ", " << known.name;
        below = below && automatic < single;
      }
      mixed += below ? 1 : 0;
    }
  }
  if (TestSeedIsGiven()) return;
  EXPECT_GE(mixed, 400);  // below every mode: layers differ
}

/// The fastest of all assignments, by trying each.
double BestByTrying(const Outline& outline, const CostMachine& machine) {
  const std::vector<size_t>& layers = outline.layers_with_ways();
  std::vector<Mode> mode_i(outline.model().layers.size(), Mode::kSparseSparse);
  double best = ExpectedCycles(outline, {.mode = Mode::kSparseSparse}, machine);
  const auto count = static_cast<size_t>(std::pow(3, layers.size()));
  for (size_t assignment = 0; assignment < count; ++assignment) {
    size_t rest = assignment;
    for (const size_t i : layers) {
      mode_i[i] = kWays[rest % 3];
      rest /= 3;
    }
    const std::vector<double> cycles_i =
        NetworkCycles(outline.model(), outline.Uses(mode_i), machine);
    best = std::min(best, std::accumulate(cycles_i.begin(), cycles_i.end(), 0.0));
  }
  return best;
}

TEST(Choose, AutoIsTheFastestOfAllAssignmentsByWhatIsExpected) {
  int tried = 0;
  for (const uint64_t seed : TestSeeds(100)) {
    const packed::Model model = AnyModel(seed);
    for (const KnownMachine& known : kMachines) {
      const CostMachine machine = known.machine();
      const Outline outline(model, machine.isa);
      if (outline.layers_with_ways().size() > 4 || !outline.graph().IsChain()) continue;
      ++tried;
      EXPECT_LE(ExpectedCycles(outline, {}, machine), 1.0001 * BestByTrying(outline, machine))
          << known.name;
    }
  }
  if (TestSeedIsGiven()) return;
  EXPECT_GE(tried, 1000);
}

TEST(Choose, AMeasuredClockChangesNoPlan) {
  for (const uint64_t seed : TestSeeds(40)) {
    const packed::Model model = AnyModel(seed);
    const EngineOptions options{.threads = 2, .parallel_us = 2};
    CostMachine slow{.isa = kernels::IsaName(), .caches = {}, .clock_ghz = 0.1};
    CostMachine fast{.isa = slow.isa, .caches = {}, .clock_ghz = 9};
    const Plan a = MakePlan(model, options, true, slow), b = MakePlan(model, options, true, fast);
    for (size_t i = 0; i < model.layers.size(); ++i) {
      EXPECT_EQ(a.layers[i].kernel, b.layers[i].kernel);
      EXPECT_EQ(a.layers[i].parallel, b.layers[i].parallel);
      EXPECT_NEAR(a.layers[i].expected_us, 90 * b.layers[i].expected_us,
                  1e-9 * a.layers[i].expected_us);
    }
  }
}

}  // namespace
}  // namespace bisparse
