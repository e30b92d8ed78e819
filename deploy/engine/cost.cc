// SPDX-License-Identifier: Apache-2.0
// The table, the machine's caches and clock, and what follows from a layer's counts. Read first: cost.h.
// Tested in: cost_test.cc.
#include "deploy/engine/cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "deploy/ops/lists.h"
#include "deploy/ops/quantise.h"
#include "deploy/simd/cpu.h"

namespace bisparse {
namespace {

using packed::Layer;

#include "deploy/ops/cost_table.inc"

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

/// `unit_factor`: of what the instruction set lacks.
double CyclesOf(const KernelCost& cost, const ops::Work& work, double unit_factor,
                const CostMachine& machine) {
  return cost.call + cost.unit * unit_factor * work.units + cost.start * work.starts +
         cost.move * work.moved +
         cost.line * WeightedLines(work, machine.touched_bytes, machine.caches);
}

}  // namespace

int32_t VectorBytes(std::string_view isa) {
  if (isa.starts_with("AVX3")) return 64;
  if (isa == "AVX2") return 32;
  return isa == "SCALAR" ? 4 : 16;
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

double WeightedLines(const ops::Work& work, int64_t touched_bytes, const CacheSizes& caches) {
  const auto factor = [&caches](double bytes) {
    return bytes <= static_cast<double>(caches.l1_bytes)   ? 0.0
           : bytes <= static_cast<double>(caches.l2_bytes) ? 1.0
           : bytes <= static_cast<double>(caches.l3_bytes) ? 4.0
                                                           : 10.0;
  };
  return work.lines * factor(static_cast<double>(touched_bytes)) +
         // What lies before and after wants its share of a cache.
         work.near_lines * factor(work.near_bytes / 0.6);
}

std::span<const KernelCost> KernelCosts() { return kKernelCosts; }

const KernelCost* FindKernelCost(std::string_view kernel) {
  const auto row = std::find_if(std::begin(kKernelCosts), std::end(kKernelCosts),
                                [&](const KernelCost& cost) { return cost.kernel == kernel; });
  return row == std::end(kKernelCosts) ? nullptr : &*row;
}

double EstimateCycles(const Layer& layer, const ops::Use& use, packed::NumberFormat format,
                      const CostMachine& machine) {
  if (use.kernel == nullptr) return 0;
  const char* row = use.kernel->CostRow(layer, use);
  const KernelCost* cost = FindKernelCost(row);
  if (cost == nullptr) return 0;
  const int32_t vector_bytes = VectorBytes(machine.isa);
  const double cycles = CyclesOf(*cost, ops::CountWork(layer, use, format, vector_bytes),
                                 use.kernel->UnitFactor(machine.isa, row), machine);
  if (!use.quantises) return cycles;
  return cycles + CyclesOf(*FindKernelCost(ops::kQuantiseRow),
                           ops::CountQuantise(layer.input.elements(), vector_bytes), 1, machine);
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
