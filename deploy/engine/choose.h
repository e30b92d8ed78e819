// SPDX-License-Identifier: Apache-2.0
// Which way each layer is computed: as the mode or a LayerChoice says, else such that the whole network is expected to be
// fastest. A layer's way changes its neighbours' cost (a k-WTA writes a list or a map, a convolution does the pool after
// it) and that of all layers (the bytes of weights that compete for the caches), so ways are compared as networks:
// the best chain of ways for each level that the weights may come from, and each single mode; the fastest of those, and
// what changing single layers of it still gives.
// What is expected is a function of the model and the machine alone, which is given: it never depends on the clock.
// Read first: outline.h, cost.h. Tested in: choose_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_CHOOSE_H_
#define BISPARSE_DEPLOY_ENGINE_CHOOSE_H_

#include <span>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/engine/cost.h"
#include "deploy/engine/outline.h"

namespace bisparse {

struct ChosenWays {
  std::vector<Mode> mode_i;           ///< of each layer, never kAuto
  std::vector<std::string> reason_i;  ///< empty: what the plan itself says
};

/// Throws Error (kConfiguration) for a choice whose layer the model lacks. Mode::kAuto is never expected to take longer
/// than one mode for all layers (those that options.choices name excepted).
ChosenWays ChooseWays(const Outline& outline, const EngineOptions& options,
                      const CostMachine& machine);

/// Cycles of each layer for one sample where the whole network is computed so. The one estimate: ways are chosen by its sum, and
/// times reported by it. machine.touched_bytes is not read.
std::vector<double> NetworkCycles(const packed::Model& model, std::span<const ops::Use> use_i,
                                  const CostMachine& machine);

/// Fills expected_us, dense_us and aligned_us; returns the cycles of expected_us.
std::vector<double> EstimateTimes(const Outline& outline, std::span<const ops::Use> use_i,
                                  const CostMachine& machine, std::vector<LayerSummary>& layers);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_CHOOSE_H_
