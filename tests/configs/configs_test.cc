// SPDX-License-Identifier: Apache-2.0
// The shapes that are deployed, through every kernel and fusion that the planner takes for them: random weights of each file
// in configs/, in int8, in every mode, against the scalar definition; bits, not tolerances. What is planned for them and for
// models/ on every machine of a table.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/machines.h"
#include "deploy/ops/shared/test_util.h"
#include "deploy/packed/model_file.h"
#include "deploy/reference/reference.h"
#include "train/config/assemble.h"
#include "train/config/load.h"
#include "train/export/quantise.h"

namespace bisparse {
namespace {

std::vector<std::string> Configurations() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(BISPARSE_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Configs : public testing::TestWithParam<std::string> {};

TEST_P(Configs, Int8IsTheDefinitionBitForBit) {
  const train::Config config =
      train::LoadConfig(BISPARSE_SOURCE_DIR "/configs/" + GetParam() + ".yaml");
  const packed::Model f32 = train::MakeRandomModel(config, 1);
  EXPECT_NE(f32.front_end.has_value(), f32.pictures.has_value());
  const auto floats = static_cast<size_t>(f32.input.elements());
  std::vector<float> x(16 * floats);
  CounterRandom random(1, {3});
  for (float& value : x) value = random.Normal();
  const packed::Model model = train::QuantiseModel(f32, x);
  const std::span<const float> sample(x.data(), floats);
  const std::vector<float> expected = RunReferenceI8(model, sample).logits;
  kernels::ForEachIsa([&] {
    for (const Mode mode : {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
      SCOPED_TRACE(ModeName(mode));
      const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
      std::vector<float> logits(expected.size());
      engine.Run(sample, logits);
      EXPECT_EQ(logits, expected);
    }
  });
}

void ExpectAutoIsNoSlowerThanAnyMode(const packed::Model& model) {
  for (const KnownMachine& known : kMachines) {
    const CostMachine machine = known.machine();
    const Outline outline(model, machine.isa);
    const double automatic = ExpectedCycles(outline, {}, machine);
    EXPECT_GT(automatic, 0);
    for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
      EXPECT_LE(automatic, ExpectedCycles(outline, {.mode = mode}, machine))
          << model.name << ", " << packed::NumberFormatName(model.format) << ", " << ModeName(mode)
          << ", " << known.name;
    }
  }
}

TEST_P(Configs, AutoIsExpectedToBeNoSlowerThanAnyModeOnAnyMachine) {
  const train::Config config =
      train::LoadConfig(BISPARSE_SOURCE_DIR "/configs/" + GetParam() + ".yaml");
  const packed::Model f32 = train::MakeRandomModel(config, 1);
  ExpectAutoIsNoSlowerThanAnyMode(f32);
  std::vector<float> x(4 * static_cast<size_t>(f32.input.elements()));
  CounterRandom random(1, {3});
  for (float& value : x) value = random.Normal();
  ExpectAutoIsNoSlowerThanAnyMode(train::QuantiseModel(f32, x));
}

TEST(Models, AutoIsExpectedToBeNoSlowerThanAnyModeOnAnyMachine) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BISPARSE_SOURCE_DIR "/models")) {
    if (entry.path().extension() != ".bisparse") continue;
    ++models;
    ExpectAutoIsNoSlowerThanAnyMode(packed::ReadModel(entry.path()));
  }
  EXPECT_GE(models, 10);
}

INSTANTIATE_TEST_SUITE_P(All, Configs, testing::ValuesIn(Configurations()),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace bisparse
