// SPDX-License-Identifier: Apache-2.0
// Read first: choose.h. Tested in: choose_test.cc.
#include "deploy/engine/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "deploy/base/check.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

double UsOfCycle(const CostMachine& machine) { return 1e-3 / machine.clock_ghz; }

/// The machine as it is while a sample goes through the network: its weights compete for the caches.
CostMachine Touched(const packed::Model& model, std::span<const ops::Use> use_i,
                    CostMachine machine) {
  machine.touched_bytes = 0;
  const int32_t vector_bytes = VectorBytes(machine.isa);
  for (size_t i = 0; i < use_i.size(); ++i) {
    if (use_i[i].kernel == nullptr) continue;
    const ops::Work work = use_i[i].kernel->Count(model.layers[i], use_i[i], vector_bytes);
    machine.touched_bytes += static_cast<int64_t>(64 * work.lines);
  }
  return machine;
}

/// Looks for the modes of the layers that have ways and are not decided beforehand.
class Search {
 public:
  Search(const Outline& outline, const CostMachine& machine, std::vector<Mode> decided_i)
      : outline_(outline), machine_(machine), decided_i_(std::move(decided_i)) {}

  std::vector<Mode> Fastest() {
    std::vector<Mode> best_i = Single(Mode::kSparseSparse);
    double best = Cycles(best_i);
    const auto consider = [&](std::vector<Mode> mode_i) {
      const double cycles = Cycles(mode_i);
      if (cycles >= best) return;
      best = cycles;
      best_i = std::move(mode_i);
    };
    consider(Single(Mode::kSparseDense));
    consider(Single(Mode::kDense));
    const CacheSizes& caches = machine_.caches;
    for (const int64_t touched :
         {caches.l1_bytes, caches.l2_bytes, caches.l3_bytes, std::numeric_limits<int64_t>::max()}) {
      machine_.touched_bytes = touched;
      if (outline_.graph().IsChain()) consider(BestChain());
    }
    // Where the fastest chain touches more than the level that it was made for holds, one layer of it may do with less. In a
    // graph, where no chain is the whole network, one layer and the next one that has ways are changed together.
    const std::vector<size_t>& layers = outline_.layers_with_ways();
    const bool pairs = !outline_.graph().IsChain();
    for (size_t w = 0; w < layers.size();) {
      const double before = best;
      for (const Mode mode : WaysOf(layers[w])) {
        std::vector<Mode> mode_i = best_i;
        mode_i[layers[w]] = mode;
        if (pairs && w + 1 < layers.size()) {
          for (const Mode next : WaysOf(layers[w + 1])) {
            std::vector<Mode> both_i = mode_i;
            both_i[layers[w + 1]] = next;
            consider(std::move(both_i));
          }
        }
        consider(std::move(mode_i));
      }
      w = best < before ? 0 : w + 1;
    }
    return best_i;
  }

  double Cycles(std::span<const Mode> mode_i) const {
    const std::vector<double> cycles_i =
        NetworkCycles(outline_.model(), outline_.Uses(mode_i), machine_);
    return std::accumulate(cycles_i.begin(), cycles_i.end(), 0.0);
  }

 private:
  std::vector<Mode> Single(Mode mode) const {
    std::vector<Mode> mode_i = decided_i_;
    std::replace(mode_i.begin(), mode_i.end(), Mode::kAuto, mode);
    return mode_i;
  }

  std::vector<Mode> WaysOf(size_t i) const {
    if (decided_i_[i] != Mode::kAuto) return {decided_i_[i]};
    return outline_.WaysOf(i);
  }

  /// Of layers [begin, end) by the modes of those two, weights coming from machine_.touched_bytes.
  double StretchCycles(std::span<const Mode> mode_i, size_t begin, size_t end) {
    const packed::Model& model = outline_.model();
    double cycles = 0;
    for (size_t i = begin; i < end; ++i) {
      cycles += EstimateCycles(model.layers[i], outline_.UseAt(i, mode_i), model.format, machine_);
    }
    return cycles;
  }

  /// The fastest chain where all weights come from one level, backwards: of each layer and each of its modes the fastest
  /// rest of the network.
  std::vector<Mode> BestChain() {
    struct Rest {
      Mode mode, next;
      double cycles;
    };
    const std::vector<size_t>& layers = outline_.layers_with_ways();
    std::vector<Mode> mode_i = Single(Mode::kSparseSparse);
    std::vector<std::vector<Rest>> rest_w(layers.size());
    size_t end = mode_i.size();
    for (size_t w = layers.size(); w-- > 0; end = layers[w]) {
      const size_t begin = layers[w];
      for (const Mode mode : WaysOf(begin)) {
        mode_i[begin] = mode;
        Rest best{mode, mode, std::numeric_limits<double>::infinity()};
        if (w + 1 == layers.size()) best.cycles = StretchCycles(mode_i, begin, end);
        for (size_t n = 0; w + 1 < layers.size() && n < rest_w[w + 1].size(); ++n) {
          const Rest& next = rest_w[w + 1][n];
          mode_i[end] = next.mode;
          const double cycles = StretchCycles(mode_i, begin, end) + next.cycles;
          if (cycles < best.cycles) best = {mode, next.mode, cycles};
        }
        rest_w[w].push_back(best);
      }
    }
    if (layers.empty()) return mode_i;
    Rest* best = nullptr;
    double best_cycles = std::numeric_limits<double>::infinity();
    for (Rest& rest : rest_w[0]) {
      mode_i[layers[0]] = rest.mode;
      const double cycles = StretchCycles(mode_i, 0, layers[0]) + rest.cycles;
      if (cycles >= best_cycles) continue;
      best_cycles = cycles;
      best = &rest;
    }
    for (size_t w = 0; w < layers.size(); ++w) {
      mode_i[layers[w]] = best->mode;
      if (w + 1 == layers.size()) break;
      best = &*std::find_if(rest_w[w + 1].begin(), rest_w[w + 1].end(),
                            [&](const Rest& rest) { return rest.mode == best->next; });
    }
    return mode_i;
  }

  const Outline& outline_;
  CostMachine machine_;
  std::vector<Mode> decided_i_;  ///< kAuto: to be looked for
};

/// Why layer i is not computed by its winners; empty where it is.
std::string Reason(const Outline& outline, const Search& search, const CostMachine& machine,
                   std::vector<Mode> mode_i, size_t i) {
  const Mode mode = mode_i[i], first = outline.WaysOf(i).front();
  if (mode == first) return "";
  const packed::Model& model = outline.model();
  const double network = search.Cycles(mode_i);
  const double own = NetworkCycles(model, outline.Uses(mode_i), machine)[i];
  mode_i[i] = first;
  const double other = own + search.Cycles(mode_i) - network;
  return fmt::format("{}: {:.3g} us expected against {:.3g} us by {}",
                     mode == Mode::kDense ? "dense is faster" : "the whole map is faster",
                     own * UsOfCycle(machine), other * UsOfCycle(machine),
                     outline.UseAt(i, mode_i).kernel->name());
}

/// µs if owners did not depend on which channel of a group wins; 0 where that changes nothing.
double AlignedUs(const Outline& outline, const ops::Use& use, size_t i,
                 const CostMachine& machine) {
  const packed::Model& model = outline.model();
  const Layer& layer = model.layers[i];
  const Layer* kwta = outline.NodeAt(i, Mode::kSparseSparse).winners;
  if (layer.kind != LayerKind::kConv2d || layer.packing.set_size == 1 || kwta == nullptr ||
      kwta->kwta.scope != packed::KwtaScope::kLocal) {
    return 0;
  }
  Layer other;
  const ops::Kernel* kernel = use.kernel->Aligned(layer, &other);
  if (kernel == nullptr) return 0;
  const ops::Use aligned{.kernel = kernel, .active_inputs = ops::WinnersOf(*kwta)};
  return EstimateCycles(other, aligned, model.format, machine) * UsOfCycle(machine);
}

}  // namespace

ChosenWays ChooseWays(const Outline& outline, const EngineOptions& options,
                      const CostMachine& machine) {
  const packed::Model& model = outline.model();
  ChosenWays ways{std::vector<Mode>(model.layers.size(), options.mode),
                  std::vector<std::string>(model.layers.size())};
  for (const LayerChoice& choice : options.choices) {
    bool known = false;
    for (size_t i = 0; i < model.layers.size(); ++i) {
      if (model.layers[i].name != choice.layer) continue;
      known = true;
      // A mode for all layers is stronger, and so is the first choice of a layer.
      if (ways.mode_i[i] != Mode::kAuto || choice.mode == Mode::kAuto) continue;
      ways.mode_i[i] = choice.mode;
      ways.reason_i[i] = choice.reason;
    }
    if (!known) {
      Fail(ErrorKind::kConfiguration, "EngineOptions",
           "choices name a layer '{}' that model '{}' lacks", choice.layer, model.name);
    }
  }
  if (options.mode != Mode::kAuto) return ways;
  const std::vector<Mode> decided_i = ways.mode_i;
  Search search(outline, machine, decided_i);
  ways.mode_i = search.Fastest();
  for (const size_t i : outline.layers_with_ways()) {
    if (decided_i[i] == Mode::kAuto) {
      ways.reason_i[i] = Reason(outline, search, machine, ways.mode_i, i);
    }
  }
  return ways;
}

std::vector<double> NetworkCycles(const packed::Model& model, std::span<const ops::Use> use_i,
                                  const CostMachine& machine) {
  const CostMachine touched = Touched(model, use_i, machine);
  std::vector<double> cycles_i;
  for (size_t i = 0; i < use_i.size(); ++i) {
    cycles_i.push_back(EstimateCycles(model.layers[i], use_i[i], model.format, touched));
  }
  return cycles_i;
}

std::vector<double> EstimateTimes(const Outline& outline, std::span<const ops::Use> use_i,
                                  const CostMachine& machine, std::vector<LayerSummary>& layers) {
  const packed::Model& model = outline.model();
  const std::vector<double> cycles_i = NetworkCycles(model, use_i, machine);
  const std::vector<double> dense_i =
      NetworkCycles(model, outline.Uses(std::vector<Mode>(layers.size(), Mode::kDense)), machine);
  const CostMachine touched = Touched(model, use_i, machine);
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].expected_us = cycles_i[i] * UsOfCycle(machine);
    layers[i].dense_us = dense_i[i] * UsOfCycle(machine);
    layers[i].aligned_us = AlignedUs(outline, use_i[i], i, touched);
  }
  return cycles_i;
}

}  // namespace bisparse
