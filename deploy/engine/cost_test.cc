// SPDX-License-Identifier: Apache-2.0
// The cost model's counts by hand, its table for every kernel that a plan names, and what must follow from more work.
#include "deploy/engine/cost.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/machines.h"
#include "deploy/ops/lists.h"
#include "deploy/ops/quantise.h"
#include "deploy/reference/random_model.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

Layer Linear(int32_t inputs, int32_t outputs, int32_t set_size, int32_t lanes) {
  Layer layer;
  layer.kind = LayerKind::kLinear;
  layer.input = {1, 1, inputs};
  layer.output = {1, 1, outputs};
  layer.packing = {.set_size = set_size, .lanes = lanes, .run = {}};
  return layer;
}

ops::Use UseOf(const char* kernel, int64_t active_inputs) {
  return {.kernel = ops::FindKernel(kernel), .active_inputs = active_inputs};
}

ops::Work CountF32(const Layer& layer, const ops::Use& use, int32_t vector_bytes) {
  return ops::CountWork(layer, use, packed::NumberFormat::kF32, vector_bytes);
}

TEST(Cost, CountsWholeVectorsOfTheInstructionSet) {
  const Layer dense = Linear(64, 40, 1, 16);
  const ops::Use use = UseOf("linear_dense_f32", 64);
  // 40 outputs are 48 in memory: 3 vectors of 16, 6 of 8, 12 of 4; 64 · 48 floats of weights.
  EXPECT_EQ(CountF32(dense, use, 64).units, 64 * 3);
  EXPECT_EQ(CountF32(dense, use, 32).units, 64 * 6);
  EXPECT_EQ(CountF32(dense, use, 16).units, 64 * 12);
  EXPECT_EQ(CountF32(dense, use, 64).lines, 64 * 48 * 4 / 64);
  // 20 winners · 5 sets of 16 lanes (320 outputs, S = 4).
  const Layer packed = Linear(64, 320, 4, 16);
  const ops::Work winners = CountF32(packed, UseOf("linear_packed_f32/winners", 20), 64);
  EXPECT_EQ(winners.units, 20 * 5);
  EXPECT_EQ(winners.starts, 20);
  EXPECT_EQ(winners.moved, 2 * 320 / 16);
}

TEST(Cost, CountsAnAlignedConvolutionByTilesAndTaps) {
  Layer conv;
  conv.kind = LayerKind::kConv2d;
  conv.input = {14, 14, 64};
  conv.output = {10, 10, 64};
  conv.window = {.kernel_h = 5, .kernel_w = 5};
  conv.packing = {.set_size = 4, .lanes = 16, .run = {32, packed::RunTaps::kRow}};
  // 8 winners at each of 196 positions; one tile of 10 columns: 50 multiply-adds and 14 times a value and an offset for
  // each of 5 · 8 entries of the set, in 10 rows.
  const ops::Work work = CountF32(conv, UseOf("conv_packed_f32/aligned_rows", 8 * 196), 64);
  EXPECT_EQ(work.units, 5 * 8 * 10 * (50 + 28));
  EXPECT_EQ(work.starts, 4 * 10);
}

TEST(Cost, KnowsEveryKernelThatAPlanNames) {
  std::set<std::string> rows;
  for (const uint64_t seed : TestSeeds(120)) {
    const packed::Model model = seed % 2 == 0 ? MakeRandomModel(seed) : MakeRandomI8Model(seed);
    for (const Mode mode : {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
      const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
      for (size_t i = 0; i < model.layers.size(); ++i) {
        const LayerSummary& layer = engine.layers()[i];
        if (layer.kernel == "none") {
          EXPECT_EQ(layer.expected_us, 0) << layer.name;
          continue;
        }
        EXPECT_GT(layer.expected_us, 0) << layer.kernel;
      }
      for (const KnownMachine& known : kMachines) {
        const CostMachine machine = known.machine();
        const Outline outline(model, machine.isa);
        const std::vector<ops::Use> use_i =
            outline.Uses(ChooseWays(outline, {.mode = mode}, machine).mode_i);
        const std::vector<double> cycles_i = NetworkCycles(model, use_i, machine);
        for (size_t i = 0; i < model.layers.size(); ++i) {
          if (use_i[i].kernel == nullptr) continue;
          const char* row = use_i[i].kernel->CostRow(model.layers[i], use_i[i]);
          EXPECT_THAT(use_i[i].kernel->CostRows(), testing::Contains(testing::StrEq(row)));
          rows.emplace(row);
          EXPECT_GT(cycles_i[i], 0) << row;
          EXPECT_LT(cycles_i[i], 20e6) << row << ": a layer of a few thousand multiplications";
        }
      }
    }
  }
  if (TestSeedIsGiven()) return;
  EXPECT_GE(rows.size(), 25u);
}

TEST(Cost, TheTableHasARowForEveryEntryAndNoOther) {
  std::set<std::string> rows{ops::kQuantiseRow};
  for (const packed::NumberFormat format :
       {packed::NumberFormat::kF32, packed::NumberFormat::kI8}) {
    for (const ops::Kernel* kernel : ops::AllKernels(format)) {
      for (const char* row : kernel->CostRows()) rows.emplace(row);
    }
  }
  std::set<std::string> table;
  for (const KernelCost& cost : KernelCosts()) table.emplace(cost.kernel);
  EXPECT_EQ(table, rows);
}

TEST(Cost, GrowsWithWinnersAndWithTheDistanceOfWeights) {
  const Layer layer = Linear(4096, 4096, 16, 16);
  const CacheSizes caches{.l1_bytes = 32 << 10, .l2_bytes = 1 << 20, .l3_bytes = 32 << 20};
  const auto cycles = [&](int64_t winners, int64_t touched) {
    return EstimateCycles(layer, UseOf("linear_packed_f32/winners", winners),
                          packed::NumberFormat::kF32,
                          {.isa = "AVX3", .caches = caches, .touched_bytes = touched});
  };
  // Twice the winners: at least half as much again, at most twice as much.
  EXPECT_GT(cycles(400, 1 << 20), 1.5 * cycles(200, 1 << 20));
  EXPECT_LE(cycles(400, 1 << 20), 2.0 * cycles(200, 1 << 20));
  EXPECT_LT(cycles(200, 1 << 20), cycles(200, 16 << 20));
  EXPECT_LT(cycles(200, 16 << 20), cycles(200, 64 << 20));
}

TEST(Cost, NamesTheNearestCacheThatHolds) {
  const CacheSizes caches{.l1_bytes = 100, .l2_bytes = 1000, .l3_bytes = 10000};
  EXPECT_STREQ(CacheLevelName(100, caches), "L1");
  EXPECT_STREQ(CacheLevelName(101, caches), "L2");
  EXPECT_STREQ(CacheLevelName(10000, caches), "L3");
  EXPECT_STREQ(CacheLevelName(10001, caches), "memory");
}

/// A folder like /sys/devices/system/cpu/cpu0/cache: level, type, size.
CacheSizes ReadStated(const std::vector<std::array<std::string, 3>>& caches) {
  const std::string folder = testing::TempDir() + fmt::format("cost_test_{}", getpid());
  std::filesystem::remove_all(folder);
  int index = 0;
  for (const auto& [level, type, size] : caches) {
    const std::string at = fmt::format("{}/index{}", folder, index++);
    std::filesystem::create_directories(at);
    std::ofstream(at + "/level") << level << "\n";
    std::ofstream(at + "/type") << type << "\n";
    std::ofstream(at + "/size") << size << "\n";
  }
  const CacheSizes sizes = ReadCaches(folder);
  std::filesystem::remove_all(folder);
  return sizes;
}

TEST(Cost, ReadsTheCachesThatLinuxStates) {
  const CacheSizes zen = ReadStated({{"1", "Data", "32K"},
                                     {"1", "Instruction", "64K"},
                                     {"2", "Unified", "1024K"},
                                     {"3", "Unified", "32M"}});
  EXPECT_TRUE(zen.stated);
  EXPECT_EQ(zen.l1_bytes, 32 << 10);
  EXPECT_EQ(zen.l2_bytes, 1 << 20);
  EXPECT_EQ(zen.l3_bytes, 32 << 20);
  // Cortex-A72: no L3, so what L2 does not hold comes from memory.
  const CacheSizes a72 =
      ReadStated({{"1", "Instruction", "48K"}, {"1", "Data", "32K"}, {"2", "Unified", "1024K"}});
  EXPECT_TRUE(a72.stated);
  EXPECT_EQ(a72.l3_bytes, 1 << 20);
  // Nothing stated, as in many containers; nonsense, as in some virtual machines.
  for (const auto& caches : {std::vector<std::array<std::string, 3>>{},
                             {{"1", "Data", "0K"}, {"2", "Unified", "?"}},
                             {{"2", "Unified", "16K"}, {"3", "Unified", "8K"}}}) {
    const CacheSizes sizes = ReadStated(caches);
    EXPECT_FALSE(sizes.stated);
    EXPECT_EQ(sizes.l1_bytes, 32 << 10);
    EXPECT_LE(sizes.l1_bytes, sizes.l2_bytes);
    EXPECT_LE(sizes.l2_bytes, sizes.l3_bytes);
  }
}

TEST(Cost, MeasuresAClockRate) { EXPECT_GT(ClockGhz(), 0); }

}  // namespace
}  // namespace bisparse
