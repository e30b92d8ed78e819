// SPDX-License-Identifier: Apache-2.0
// Which way each layer is computed: as the mode or a LayerChoice says, else as the cost model expects to be
// fastest. Read first: cost.h. Tested in: choose_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_CHOOSE_H_
#define BISPARSE_DEPLOY_ENGINE_CHOOSE_H_

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/engine/cost.h"
#include "deploy/packed/model.h"

namespace bisparse {

class Chooser {
 public:
  /// Throws Error (kConfiguration) for a choice whose layer the model lacks. Keeps references.
  Chooser(const packed::Model& model, const EngineOptions& options);

  /// plan_as(mode, summary) plans layer i in that mode, whatever it planned before, and returns its step. It is called
  /// for the modes that may be worth it, and last for the one that is taken; `summary` is of that one.
  template <class PlanAs>
  auto Plan(size_t i, const PlanAs& plan_as, LayerSummary& summary) const {
    const LayerChoice* choice = ChoiceOf(i);
    const Mode fixed = choice != nullptr ? choice->mode : options_.mode;
    const LayerSummary described = summary;
    if (fixed != Mode::kAuto || !HasWays(i)) {
      auto step = plan_as(fixed == Mode::kAuto ? Mode::kSparseSparse : fixed, summary);
      if (choice != nullptr && !choice->reason.empty()) summary.reason = choice->reason;
      return step;
    }
    auto best = plan_as(Mode::kSparseSparse, summary);
    double best_cycles = Cycles(i, summary);
    const std::string first_kernel = summary.kernel;
    const double first_cycles = best_cycles;
    Mode best_mode = Mode::kSparseSparse, last_mode = best_mode;
    for (const Mode mode : {Mode::kSparseDense, Mode::kDense}) {
      if (SketchCycles(i, mode) >= best_cycles) continue;
      LayerSummary other = described;
      auto step = plan_as(mode, other);
      last_mode = mode;
      if (Cycles(i, other) >= best_cycles) continue;
      best = std::move(step);
      best_cycles = Cycles(i, other);
      best_mode = mode;
      summary = std::move(other);
    }
    if (last_mode != best_mode) {  // planning has effects on the k-WTA in front
      summary = described;
      best = plan_as(best_mode, summary);
    }
    if (best_mode != Mode::kSparseSparse) {
      Explain(best_mode, best_cycles, first_cycles, first_kernel, summary);
    }
    return best;
  }

 private:
  const LayerChoice* ChoiceOf(size_t i) const;
  /// More than one way to compute it.
  bool HasWays(size_t i) const;
  /// With the max-pool behind, whoever does it.
  double Cycles(size_t i, const LayerSummary& summary) const;
  /// The same of the kernel that `mode` would have if owners and shapes allow it; needs no planning.
  double SketchCycles(size_t i, Mode mode) const;
  double Cycles(size_t i, const LayerUse& use) const;
  static void Explain(Mode mode, double cycles, double other_cycles,
                      const std::string& other_kernel, LayerSummary& summary);

  const packed::Model& model_;
  const EngineOptions& options_;
  CostMachine machine_;
};

/// Fills expected_us, dense_us and aligned_us.
void EstimateTimes(const packed::Model& model, std::vector<LayerSummary>& layers);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_CHOOSE_H_
