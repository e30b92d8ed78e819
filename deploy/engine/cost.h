// SPDX-License-Identifier: Apache-2.0
// How long a layer will take, before it runs: its kernel counts what it does from shapes alone (deploy/ops/kernel.h), and
// a table (deploy/ops/cost_table.inc) says what each count costs.
//
//   cycles = call + unit·units + start·starts + move·moved + line·lines·f(where the lines come from)
//
// f is 0 for L1, then 1, 4 and 10: a line of L3 takes about four times as long as one of L2, one of memory ten times.
// Counts are of whole vectors, so a narrower instruction set costs more by itself. The table's
// coefficients are fitted to measured layers (tools/calibrate_cost.cc prints it anew). Read
// first: deploy/ops/README.md, docs/planning.md. Tested in: cost_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_COST_H_
#define BISPARSE_DEPLOY_ENGINE_COST_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bisparse/engine.h"
#include "deploy/ops/kernel.h"
#include "deploy/packed/model.h"

namespace bisparse {

/// Clock of a common core: what a plan takes µs as, so that no plan depends on a measurement.
inline constexpr double kNominalGhz = 3;

/// Width of the machine's vectors as the kernels use them: 64, 32 or 16 bytes, 4 for scalars.
int32_t VectorBytes(std::string_view isa);

/// Sizes of a CPU's caches, none smaller than the one before.
struct CacheSizes {
  int64_t l1_bytes = 32 << 10, l2_bytes = 512 << 10, l3_bytes = 8 << 20;
  bool stated = true;  ///< by the operating system: L1 and L2 (a CPU without L3 has that of L2)
};
/// What Linux states in a folder like /sys/devices/system/cpu/cpu0/cache; the sizes above for what it does not.
CacheSizes ReadCaches(const std::string& folder);
/// Of the CPU that this runs on, read once.
const CacheSizes& MachineCaches();
/// "L1", "L2", "L3" or "memory": the nearest one that holds so many bytes.
const char* CacheLevelName(int64_t bytes, const CacheSizes& caches);

/// The machine that costs are estimated for. Nothing is chosen by its clock: that is what cycles are shown in.
struct CostMachine {
  std::string isa;  ///< kernels::IsaName()
  CacheSizes caches;
  int64_t touched_bytes =
      0;  ///< of weights by one sample in all layers: what competes for the caches
  double clock_ghz = kNominalGhz;
};
/// The one that this runs on.
CostMachine ThisMachine();

/// Cycles of a layer for one sample; 0 for one that has no kernel.
double EstimateCycles(const packed::Layer& layer, const ops::Use& use, packed::NumberFormat format,
                      const CostMachine& machine);

/// One row of the table.
struct KernelCost {
  std::string_view kernel;
  double call = 0, unit = 0, start = 0, move = 0, line = 0;
};
std::span<const KernelCost> KernelCosts();
/// Null for a name that no kernel has.
const KernelCost* FindKernelCost(std::string_view kernel);
/// What `line` is multiplied with: lines, weighted by where they come from.
double WeightedLines(const ops::Work& work, int64_t touched_bytes, const CacheSizes& caches);

/// Clock rate of the core that calls, measured in about 0.1 ms once a process (a chain of dependent
/// multiplications); cycles / ClockGhz() are nanoseconds.
double ClockGhz();

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_COST_H_
