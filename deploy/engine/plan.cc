// SPDX-License-Identifier: Apache-2.0
// Prepares what the outline says, and gives every value its place. Read first: plan.h. Tested in: engine_test.cc.
#include "deploy/engine/plan.h"

#include <algorithm>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/base/size.h"
#include "deploy/engine/choose.h"
#include "deploy/engine/memory.h"
#include "deploy/engine/outline.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/quantise.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/pack.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

/// Names, shapes and counts; kernel "none", every multiplication executed, every input active.
LayerSummary Describe(const Layer& layer) {
  LayerSummary summary{.name = layer.name,
                       .kind = packed::LayerKindName(layer.kind),
                       .kernel = "none",
                       .input = layer.input,
                       .output = layer.output,
                       .active_inputs = layer.input.elements()};
  if (layer.HasWeights()) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    summary.weights_dense = layout.shape.weights();
    summary.macs_dense = summary.macs_executed =
        ops::PositionsOf(layer.output) * summary.weights_dense;
    summary.nonzeros = packed::CountOwned(layout, layer.owner_nr);
    summary.set_size = layer.packing.set_size;
    summary.lanes = layer.packing.lanes;
  }
  return summary;
}

/// Makes a plan from an outline and the ways that were chosen.
class Planner {
 public:
  Planner(const Outline& outline, const ChosenWays& ways, bool fuse)
      : outline_(outline),
        model_(outline.model()),
        mode_i_(ways.mode_i),
        use_i_(outline.Uses(ways.mode_i)),
        f32_(model_.format == packed::NumberFormat::kF32),
        fuse_(fuse),
        values_(model_.layers.size() + 1) {}

  Plan Make() {
    plan_.input_elements = model_.input.elements();
    plan_.output_elements = model_.output_count();
    PrepareSteps();
    MakeSegments();
    FindLifetimes();
    GivePlaces();
    Connect();
    if (!fuse_) Trace();
    return std::move(plan_);
  }
  std::span<const ops::Use> use_i() const { return use_i_; }

 private:
  static constexpr int64_t kNever = -1;
  /// What a step leaves: a map, a list of winners, or both.
  struct Value {
    int64_t step = kNever;  ///< that writes it
    int64_t map_bytes = 0, list_count = 0, begin_count = 0;
    int64_t map_last = kNever, list_last = kNever;  ///< the last step that reads it
    Place map;
    ListPlace list;
  };
  Value& ValueAt(int32_t value) { return values_[static_cast<size_t>(value + 1)]; }
  Value& ReadBy(int32_t input) {
    return ValueAt(input < 0 ? input : outline_.ValueOf(static_cast<size_t>(input), mode_i_));
  }

  void PrepareSteps() {
    if (!f32_) {
      ValueAt(-1).step = 0;
      ValueAt(-1).map_bytes = plan_.input_elements;
      PlannedStep quantise;
      quantise.step = ops::MakeQuantiseStep(model_);
      plan_.steps.push_back(std::move(quantise));
    }
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      const Layer& layer = model_.layers[i];
      const ops::Use& use = use_i_[i];
      LayerSummary& summary = plan_.layers.emplace_back(Describe(layer));
      summary.reason = use.reason;
      PlannedStep planned;
      if (use.kernel != nullptr) {
        summary.kernel = use.kernel->name();
        planned.step = use.kernel->Prepare(outline_.NodeAt(i, mode_i_[i]), use, summary);
      }
      if (planned.step == nullptr) {
        plan_.layers_without_step.push_back(i);
        continue;
      }
      planned.layer = static_cast<int32_t>(i);
      Value& value = ValueAt(planned.layer);
      value.step = std::ssize(plan_.steps);
      const ops::Step& step = *planned.step;
      value.list_count = step.winner_count;
      value.begin_count = step.begin_count;
      const bool list_alone = step.winner_count > 0 && (use.kwta || !use.writes_map);
      if (!list_alone) value.map_bytes = MapElements(i) * (f32_ ? 4 : 1);
      plan_.scratch_bytes =
          std::max(plan_.scratch_bytes, Size(step.scratch_bytes).RoundUp(64).value());
      plan_.steps.push_back(std::move(planned));
    }
  }

  /// Of the map that layer i's step writes: after the pool that it does too.
  int64_t MapElements(size_t i) const {
    const Layer& layer = model_.layers[i];
    const packed::Layer* pool = outline_.NodeAt(i, mode_i_[i]).pool;
    const bool pools = use_i_[i].pools && layer.kind != LayerKind::kKwta;
    return (pools ? *pool : layer).output.elements();
  }

  void MakeSegments() {
    std::vector<Segment>& segments = plan_.segments;
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const bool batched = plan_.steps[s].step->batched;
      if (batched || segments.empty() || segments.back().batched) {
        segments.push_back({.begin = s, .end = s, .batched = batched});
      }
      segments.back().end = s + 1;
      segment_s_.push_back(segments.size() - 1);
    }
  }

  bool ReadsList(const PlannedStep& planned) const {
    return planned.layer >= 0 && use_i_[static_cast<size_t>(planned.layer)].reads_winners;
  }
  std::span<const int32_t> InputsOf(const PlannedStep& planned) const {
    return planned.layer >= 0 ? outline_.graph().inputs(planned.layer) : std::span<const int32_t>();
  }

  void FindLifetimes() {
    for (int64_t s = 0; s < std::ssize(plan_.steps); ++s) {
      const PlannedStep& planned = plan_.steps[static_cast<size_t>(s)];
      for (const int32_t input : InputsOf(planned)) {
        Value& value = ReadBy(input);
        (ReadsList(planned) ? value.list_last : value.map_last) = s;
      }
    }
  }

  /// From where to where a value is needed, and whether for each sample of a block.
  Place TakePlace(int64_t bytes, int64_t first, int64_t last) {
    if (bytes == 0) return {};
    last = std::max(last, first);
    const Segment& from = plan_.segments[segment_s_[static_cast<size_t>(first)]];
    const Segment& to = plan_.segments[segment_s_[static_cast<size_t>(last)]];
    if (from.begin == to.begin && !from.batched) {
      return {.base = Place::kArena, .offset = arena_.Take(bytes, first, last)};
    }
    // Every sample of the block passes a whole segment before the next one begins.
    return {
        .base = Place::kArena,
        .offset = arena_.Take((Size(bytes) * ops::kMostSamples).value(),
                              static_cast<int64_t>(from.begin), static_cast<int64_t>(to.end) - 1),
        .stride = bytes};
  }

  void GivePlaces() {
    const Place features{.base = Place::kFeatures, .offset = 0, .stride = 4 * plan_.input_elements};
    const Place logits{.base = Place::kLogits, .offset = 0, .stride = 4 * plan_.output_elements};
    const size_t last = model_.layers.size() - 1;
    Value& output = ValueAt(outline_.ValueOf(last, mode_i_));
    if (f32_) ValueAt(-1).map = features;
    if (output.step == kNever) plan_.output = features;
    // In the order of the steps, so that a chain's maps lie beside each other in turn.
    std::vector<Value*> in_order(plan_.steps.size());
    for (Value& value : values_) {
      if (value.step != kNever) in_order[static_cast<size_t>(value.step)] = &value;
    }
    for (Value* value : in_order) {
      value->map =
          value == &output ? logits : TakePlace(value->map_bytes, value->step, value->map_last);
      if (value->list_count == 0) continue;
      const int64_t slots = (Size(value->list_count) + kernels::kKwtaSlack).RoundUp(16).value();
      const int64_t end = value->list_last;
      value->list.index_k = TakePlace((Size(4) * slots).value(), value->step, end);
      value->list.value_k = TakePlace((Size(f32_ ? 4 : 1) * slots).value(), value->step, end);
      value->list.begin_p = TakePlace((Size(4) * value->begin_count).value(), value->step, end);
    }
    plan_.arena_bytes = arena_.bytes();
  }

  void Connect() {
    for (PlannedStep& planned : plan_.steps) {
      const Value& value = ValueAt(planned.layer);
      planned.y = value.map;
      planned.out = value.list;
      if (planned.layer < 0) {
        planned.x = {{.base = Place::kFeatures, .offset = 0, .stride = 4 * plan_.input_elements}};
        continue;
      }
      for (const int32_t input : InputsOf(planned)) {
        const Value& read = ReadBy(input);
        planned.x.push_back(read.map);
        if (ReadsList(planned)) planned.in = read.list;
      }
    }
  }

  void Trace() {
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      const Value& value = ReadBy(static_cast<int32_t>(i));
      plan_.traced.push_back({.map = value.map,
                              .list = value.list,
                              .winner_count = value.list_count,
                              .after_step = static_cast<size_t>(value.step + 1)});
    }
  }

  const Outline& outline_;
  const packed::Model& model_;
  const std::vector<Mode>& mode_i_;
  const std::vector<ops::Use> use_i_;
  bool f32_, fuse_;
  std::vector<Value> values_;  ///< of the input, then of each layer
  std::vector<size_t> segment_s_;
  Arena arena_;
  Plan plan_;
};

/// Of a thread whose steps are its own. What other threads lend their scratch to is bounded by MarkParallel.
void CheckWorkspace(const packed::Model& model, const Plan& plan) {
  if (plan.workspace_bytes() <= packed::kMaxWorkspaceBytes) return;
  const auto smaller = [](const Layer& a, const Layer& b) {
    return PaddedElements(a) + a.output.elements() < PaddedElements(b) + b.output.elements();
  };
  const auto largest = std::max_element(model.layers.begin(), model.layers.end(), smaller);
  Fail(ErrorKind::kData, fmt::format("model '{}'", model.name),
       "needs a workspace of {} bytes a thread, at most {} are allowed (hint: smaller maps, the "
       "largest are those of layer '{}')",
       plan.workspace_bytes(), packed::kMaxWorkspaceBytes, largest->name);
}

/// Steps whose kernels take a part of their outputs, where that is worth other threads' while and all their scratch is
/// still a workspace that may be.
void MarkParallel(const EngineOptions& options, std::span<const double> cycles_i, Plan& plan) {
  if (options.threads < 2) return;
  plan.slots = options.threads;
  const bool fits = plan.workspace_bytes() <= packed::kMaxWorkspaceBytes;
  plan.slots = 1;
  if (!fits) return;
  const double cycles = options.parallel_us * 1e3 * kNominalGhz;
  for (PlannedStep& planned : plan.steps) {
    if (planned.layer < 0) continue;
    const auto i = static_cast<size_t>(planned.layer);
    planned.parallel = cycles_i[i] >= cycles && planned.step->divisible && planned.step->parts > 1;
    plan.layers[i].parallel = planned.parallel;
    if (planned.parallel) plan.slots = options.threads;
  }
}

}  // namespace

int64_t Plan::workspace_bytes() const {
  return (Size(arena_bytes) + Size(slots) * scratch_bytes + Size(4 * input_elements).RoundUp(64))
      .value();
}

Plan MakePlan(const packed::Model& model, const EngineOptions& options, bool fuse,
              const CostMachine& machine) {
  const Outline outline(model, machine.isa, fuse);
  const ChosenWays ways = ChooseWays(outline, options, machine);
  Planner planner(outline, ways, fuse);
  Plan plan = planner.Make();
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    if (!ways.reason_i[i].empty()) plan.layers[i].reason = ways.reason_i[i];
  }
  CheckWorkspace(model, plan);
  MarkParallel(options, EstimateTimes(outline, planner.use_i(), machine, plan.layers), plan);
  return plan;
}

}  // namespace bisparse
