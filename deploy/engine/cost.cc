// SPDX-License-Identifier: Apache-2.0
// The table, the machine's caches and clock, and what follows from a layer's counts (cost_counts.cc). Read first: cost.h.
// Tested in: cost_test.cc.
#include "deploy/engine/cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "deploy/simd/cpu.h"

namespace bisparse {
namespace {

using packed::Layer;

#include "deploy/engine/cost_table.inc"

/// Of the data cache of `level` as Linux states it; 0 if it does not.
int64_t CacheBytes(const std::string& folder, int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string cache = fmt::format("{}/index{}/", folder, index);
    std::ifstream level_file(cache + "level"), type_file(cache + "type"), size_file(cache + "size");
    int stated = 0;
    int64_t size = 0;
    std::string type, unit;
    if (!(level_file >> stated) || !(type_file >> type) || !(size_file >> size)) continue;
    size_file >> unit;  // "1024K"
    if (stated == level && type != "Instruction") return size << (unit == "M" ? 20 : 10);
  }
  return 0;
}

/// Where there are no dot products of bytes they are made of more instructions (weights are narrow, packed::kNarrowWeight).
/// AVX2: Zen 3.
double UnitFactor(std::string_view row, std::string_view isa) {
  if (kernels::IsAvx3Dl(isa)) return 1;
  if (row == "matmul_i8/conv") return 2.9;
  if (row == "matmul_i8/linear") return 1.2;
  if (row.starts_with("conv_quads_i8")) return 1.6;
  if (row == "conv_taps_i8/shared") return 5.5;  // pairs instead of fours
  if (row == "kwta_u8/bisection") return isa == "AVX3" ? 1 : 1.4;
  // A unit is four vectors of floats; this kernel's registers have 128 bits everywhere.
  if (row == "kwta_u8/eights") {
    return isa == "AVX3" ? 1 : isa == "AVX2" ? 0.5 : isa == "SSE4" ? 0.25 : 3.6;
  }
  return row == "kwta_u8/fold" && isa != "AVX3" ? 4 : 1;
}

double CyclesOf(const KernelCost& cost, const Work& work, const CostMachine& machine) {
  return cost.call + cost.unit * UnitFactor(cost.kernel, machine.isa) * work.units +
         cost.start * work.starts + cost.move * work.moved +
         cost.line * WeightedLines(work, machine.touched_bytes, machine.caches);
}

}  // namespace

LayerUse UseOf(std::span<const LayerSummary> layers, size_t i, packed::NumberFormat format) {
  const LayerSummary& layer = layers[i];
  size_t reader = i + 1;
  while (reader < layers.size() && layers[reader].kernel == "none") ++reader;
  return {.kernel = layer.kernel,
          .active_inputs = layer.active_inputs,
          .dense_weights = layer.macs_executed == layer.macs_dense,
          .writes_map = layer.kernel.starts_with("kwta") &&
                        (reader == layers.size() ||
                         (!layers[reader].kernel.ends_with("winners") &&
                          layers[reader].active_inputs == layers[reader].input.elements())),
          .quantises = i == 0 && format == packed::NumberFormat::kI8};
}

CacheSizes ReadCaches(const std::string& folder) {
  CacheSizes sizes;
  const int64_t l1 = CacheBytes(folder, 1), l2 = CacheBytes(folder, 2), l3 = CacheBytes(folder, 3);
  sizes.stated = l1 > 0 && l2 > 0;
  if (l1 > 0) sizes.l1_bytes = l1;
  if (l2 > 0) sizes.l2_bytes = l2;
  if (l3 > 0 || sizes.stated) sizes.l3_bytes = l3;
  sizes.l2_bytes = std::max(sizes.l1_bytes, sizes.l2_bytes);
  sizes.l3_bytes = std::max(sizes.l2_bytes, sizes.l3_bytes);
  return sizes;
}

const CacheSizes& MachineCaches() {
  static const CacheSizes caches = ReadCaches("/sys/devices/system/cpu/cpu0/cache");
  return caches;
}

CostMachine ThisMachine() {
  return {.isa = kernels::IsaName(), .caches = MachineCaches(), .clock_ghz = ClockGhz()};
}

const char* CacheLevelName(int64_t bytes, const CacheSizes& caches) {
  if (bytes <= caches.l1_bytes) return "L1";
  if (bytes <= caches.l2_bytes) return "L2";
  return bytes <= caches.l3_bytes ? "L3" : "memory";
}

double WeightedLines(const Work& work, int64_t touched_bytes, const CacheSizes& caches) {
  const auto factor = [&caches](double bytes) {
    return bytes <= static_cast<double>(caches.l1_bytes)   ? 0.0
           : bytes <= static_cast<double>(caches.l2_bytes) ? 1.0
           : bytes <= static_cast<double>(caches.l3_bytes) ? 4.0
                                                           : 10.0;
  };
  return work.lines * factor(static_cast<double>(touched_bytes)) +
         // What lies in front and behind wants its share of a cache.
         work.near_lines * factor(work.near_bytes / 0.6);
}

const KernelCost* FindKernelCost(std::string_view kernel) {
  const auto row = std::find_if(std::begin(kKernelCosts), std::end(kKernelCosts),
                                [&](const KernelCost& cost) { return cost.kernel == kernel; });
  return row == std::end(kKernelCosts) ? nullptr : &*row;
}

double EstimateCycles(const Layer& layer, const LayerUse& use, const CostMachine& machine) {
  const KernelCost* cost = FindKernelCost(CostRowName(layer, use));
  if (cost == nullptr) return 0;
  const Work work = CountWork(layer, use, VectorBytes(machine.isa));
  const double cycles = CyclesOf(*cost, work, machine);
  if (!use.quantises) return cycles;
  return cycles + CyclesOf(*FindKernelCost("quantise_u8"),
                           CountQuantiseWork(layer.input.elements(), VectorBytes(machine.isa)),
                           machine);
}

double ClockGhz() {
  static const double ghz = [] {
    constexpr int kSteps = 20'000, kCyclesOfStep = 4;  // a multiplication and an addition
    double best = 0;
    for (int turn = 0; turn < 5; ++turn) {
      const auto begin = std::chrono::steady_clock::now();
      uint64_t x = static_cast<uint64_t>(turn) + 3;
      for (int i = 0; i < kSteps; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
      const auto end = std::chrono::steady_clock::now();
      volatile uint64_t kept = x;
      (void)kept;
      const double ns = std::chrono::duration<double, std::nano>(end - begin).count();
      best = std::max(best, kSteps * double{kCyclesOfStep} / ns);
    }
    return best;
  }();
  return ghz;
}

}  // namespace bisparse
