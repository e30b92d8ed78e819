// SPDX-License-Identifier: Apache-2.0
// Machines for tests of the planner: instruction sets as the cost model names them, caches in KB as the vendors state them
// (L3: of the cores that share it). What is planned for them is compared, not run.
#ifndef BISPARSE_DEPLOY_ENGINE_MACHINES_H_
#define BISPARSE_DEPLOY_ENGINE_MACHINES_H_

#include <cstdint>
#include <string>

#include "bisparse/engine.h"
#include "deploy/engine/choose.h"

namespace bisparse {

struct KnownMachine {
  const char* name;
  const char* isa;
  int64_t l1_kb, l2_kb, l3_kb;
  CostMachine machine() const {
    return {.isa = isa,
            .caches = {.l1_bytes = l1_kb << 10, .l2_bytes = l2_kb << 10, .l3_bytes = l3_kb << 10}};
  }
};

inline constexpr KnownMachine kMachines[] = {
    {"AMD Zen 2", "AVX2", 32, 512, 16 << 10},
    {"AMD Zen 3", "AVX2", 32, 512, 32 << 10},
    {"AMD Zen 4", "AVX3_DL", 32, 1 << 10, 32 << 10},
    {"AMD Zen 5", "AVX3_DL", 48, 1 << 10, 32 << 10},
    {"AMD Zen 5c", "AVX3_DL", 48, 1 << 10, 8 << 10},
    {"Intel Westmere", "SSE4", 32, 256, 12 << 10},
    {"Intel Skylake client", "AVX2", 32, 256, 8 << 10},
    {"Intel Skylake-SP", "AVX3", 32, 1 << 10, 22 << 10},
    {"Intel Cascade Lake", "AVX3_DL", 32, 1 << 10, 36 << 10},
    {"Intel Ice Lake client", "AVX3_DL", 48, 512, 8 << 10},
    {"Intel Ice Lake-SP", "AVX3_DL", 48, 1280, 48 << 10},
    {"Intel Alder Lake P", "AVX2", 48, 1280, 30 << 10},
    {"Intel Alder Lake E", "AVX2", 32, 2 << 10, 30 << 10},
    {"Arm Cortex-A53", "NEON", 32, 512, 512},
    {"Arm Cortex-A72", "NEON", 32, 1 << 10, 1 << 10},
    {"Arm Cortex-A76", "NEON", 64, 512, 2 << 10},
    {"Arm Neoverse N1", "NEON", 64, 1 << 10, 32 << 10},
    {"Arm Neoverse V1", "NEON", 64, 1 << 10, 32 << 10},
    {"Apple M1 P", "NEON", 128, 12 << 10, 12 << 10},
    {"no vectors", "SCALAR", 32, 512, 8 << 10},
    {"AVX-512 with 128 KB", "AVX3_DL", 128, 2 << 10, 64 << 10},
    {"everything in memory", "AVX2", 1, 1, 1},
};

/// Expected cycles of the whole network in the ways that `options` leads to.
inline double ExpectedCycles(const Outline& outline, const EngineOptions& options,
                             const CostMachine& machine) {
  const ChosenWays ways = ChooseWays(outline, options, machine);
  double sum = 0;
  for (const double cycles : NetworkCycles(outline.model(), outline.Uses(ways.mode_i), machine)) {
    sum += cycles;
  }
  return sum;
}

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_MACHINES_H_
