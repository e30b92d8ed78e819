// SPDX-License-Identifier: Apache-2.0
// Chooses each layer's kernel and prepares its weights. Read first: plan.h.
// Tested in: engine_test.cc.
#include "deploy/engine/plan.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/engine/choose.h"
#include "deploy/engine/describe.h"
#include "deploy/engine/fuse.h"
#include "deploy/ops/linear/linear_packed_prepare.h"
#include "deploy/packed/limits.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

int64_t RoundToLine(Size floats) { return floats.RoundUp(16).value(); }

/// The winners' lists that a layer could read, or null: the k-WTA in front, with nothing between
/// but flattening. A convolution needs the map's own positions, which a flatten takes away.
const Step* WinnersInFront(const std::vector<Step>& steps, bool through_flatten) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->kernel == StepKernel::kKwta) return &*step;
    if (step->kernel != StepKernel::kNone || !through_flatten) return nullptr;
  }
  return nullptr;
}

/// Writes S kernels that share positions into rows of all outputs: weight_po[p][O padded to 16].
void UnpackRows(const packed::Layout& layout, const Layer& layer, int64_t pitch, float* weight_po) {
  const bool owned = layout.packing.set_size > 1;
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t run = owned ? layout.RunOf(p) : 0;
    for (int32_t n = 0; n < layout.sets; ++n) {
      const int32_t s = owned ? layer.owner_nr[static_cast<size_t>(n * layout.runs + run)] : 0;
      for (int32_t l = 0; l < layout.packing.lanes; ++l) {
        const int64_t o = layout.Output(n, s, l);
        if (o >= layout.shape.outputs) continue;
        weight_po[p * pitch + o] = layer.weight_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
      }
    }
  }
}

/// Gives the dense kernels rows of outputs padded to 16; in place where the model has that form.
void MakeDenseWeights(const packed::Layout& layout, const Layer& layer, Step& step,
                      LayerSummary& summary) {
  const int64_t pitch = RoundToLine(layout.shape.outputs);
  const bool in_place = layout.packing.set_size == 1 && layout.packing.lanes == 16;
  if (in_place) {
    step.weight = layer.weight_pnl.data();
  } else {
    step.own_weight = AlignedBuffer<float>(static_cast<size_t>(layout.positions * pitch));
    UnpackRows(layout, layer, pitch, step.own_weight.data());
    step.weight = step.own_weight.data();
  }
  if (layout.outputs_padded() >= pitch) {
    step.bias_o = layer.bias_o.data();
  } else {
    step.own_bias = AlignedBuffer<float>(static_cast<size_t>(pitch));
    std::copy_n(layer.bias_o.data(), layout.shape.outputs, step.own_bias.data());
    step.bias_o = step.own_bias.data();
  }
  summary.weight_bytes = (layout.positions + 1) * pitch * 4;
}

/// Whether a layer reads its winners, its packed weights or dense ones, and why.
struct Choice {
  bool packed = false;
  const Step* winners = nullptr;
};

Choice Choose(const Layer& layer, const Step* winners, Mode mode, LayerSummary& summary) {
  if (mode == Mode::kDense) {
    summary.reason = "mode dense";
    return {};
  }
  const bool sparse = layer.packing.set_size > 1;
  Choice choice{.packed = sparse, .winners = winners};
  if (mode == Mode::kSparseDense) {
    choice.winners = nullptr;
    summary.reason = sparse ? "mode sparse_dense" : "weights are dense";
  } else if (winners == nullptr) {
    summary.reason = sparse ? "input is dense" : "input and weights are dense";
  } else {
    summary.reason = sparse ? "weights and inputs are sparse" : "inputs are sparse";
  }
  return choice;
}

/// `behind`: the layer whose work may be done here, or null.
void PlanConv(const Layer& layer, const Layer* behind, Mode mode, std::vector<Step>& before,
              Step& step, LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const Choice choice = Choose(layer, WinnersInFront(before, false), mode, summary);
  if (choice.winners != nullptr || choice.packed) {
    if (choice.winners != nullptr) {
      Step& kwta = before.back();
      kwta.emits_winners = true;
      kwta.kwta_begins = kwta.kwta.global;
      const auto per_position =
          kwta.kwta.global ? 0 : static_cast<int32_t>(kwta.winner_count / kwta.kwta.positions);
      step.kernel = StepKernel::kConvPackedWinners;
      step.winner_count = kwta.winner_count;
      step.prepared = kernels::PrepareConvPackedWinnersF32(
          layout, layer.window, layer.input, layer.output,
          {.per_position = per_position, .groups = per_position == 0 ? 1 : kwta.kwta.groups},
          layer.owner_nr, layer.weight_pnl, layer.bias_o);
      summary.active_inputs = kwta.winner_count;
    } else {
      std::optional<kernels::PreparedConv> pooled;
      if (behind != nullptr && IsPoolOfTwo(*behind)) {
        pooled =
            kernels::PrepareConvPackedPooledF32(layout, layer.window, layer.input, layer.output,
                                                layer.owner_nr, layer.weight_pnl, layer.bias_o);
      }
      step.kernel = pooled ? StepKernel::kConvPackedPooled : StepKernel::kConvPackedDense;
      if (pooled) step.output = behind->output;
      step.prepared = pooled ? *std::move(pooled)
                             : kernels::PrepareConvPackedDenseF32(layout, layer.window, layer.input,
                                                                  layer.output, layer.owner_nr,
                                                                  layer.weight_pnl, layer.bias_o);
    }
    summary.kernel = fmt::format("conv_packed_f32/{}", ConvPackedFormName(step.prepared.plan.form));
    step.scratch_floats = kernels::ConvPackedScratchFloats(step.prepared.plan);
    summary.macs_executed = step.prepared.macs_per_map;
    summary.weight_bytes =
        (layout.slots() + layout.outputs_padded()) * 4 + step.prepared.lists.bytes();
    return;
  }
  step.kernel = StepKernel::kConvDense;
  summary.kernel = "conv_dense_f32";
  step.conv = {.in_h = layer.input.height,
               .in_w = layer.input.width,
               .channels = layer.input.channels,
               .kernel_h = layer.window.kernel_h,
               .kernel_w = layer.window.kernel_w,
               .stride_h = layer.window.stride_h,
               .stride_w = layer.window.stride_w,
               .pad_h = layer.window.pad_h,
               .pad_w = layer.window.pad_w,
               .outputs = layer.output.channels};
  step.offset_p.resize(static_cast<size_t>(step.conv.positions()));
  kernels::ConvDenseOffsets(step.conv, step.offset_p.data());
  const bool padded = step.conv.pad_h > 0 || step.conv.pad_w > 0;
  step.scratch_floats = padded ? step.conv.padded_elements() : 0;
  MakeDenseWeights(layout, layer, step, summary);
}

void PlanLinear(const Layer& layer, Mode mode, std::vector<Step>& before, Step& step,
                LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const Choice choice = Choose(layer, WinnersInFront(before, true), mode, summary);
  step.linear = {.inputs = layer.input.elements(), .outputs = layer.output.elements()};
  step.sets = layout.sets;
  step.packing = layer.packing;
  if (choice.winners != nullptr) {
    const auto kwta = std::find_if(before.rbegin(), before.rend(),
                                   [](const Step& s) { return s.kernel == StepKernel::kKwta; });
    kwta->emits_winners = true;
    step.winner_count = kwta->winner_count;
    summary.active_inputs = kwta->winner_count;
    summary.macs_executed = kwta->winner_count * summary.nonzeros / step.linear.inputs;
    if (!choice.packed) {
      step.kernel = StepKernel::kLinearDenseWinners;
      summary.kernel = "linear_dense_f32/winners";
      return MakeDenseWeights(layout, layer, step, summary);
    }
    step.kernel = StepKernel::kLinearPackedWinners;
    summary.kernel = "linear_packed_f32/winners";
    step.lists = kernels::PrepareLinearPackedWinnersF32(layout, layer.owner_nr);
    step.weight = layer.weight_pnl.data();
    step.scratch_floats = kernels::LinearPackedScratchFloats(layer.packing.set_size,
                                                             layer.packing.lanes, layout.sets);
  } else if (choice.packed) {
    step.kernel = StepKernel::kLinearPackedDense;
    summary.kernel = "linear_packed_f32/dense";
    summary.macs_executed = summary.nonzeros;
    step.lists = kernels::PrepareLinearPackedDenseF32(layout, layer.owner_nr, layer.weight_pnl);
    step.weight = step.lists.WeightBase(layer.weight_pnl.data());
  } else {
    step.kernel = StepKernel::kLinearDense;
    summary.kernel = "linear_dense_f32";
    return MakeDenseWeights(layout, layer, step, summary);
  }
  step.bias_o = layer.bias_o.data();
  summary.weight_bytes = (layout.slots() + layout.outputs_padded()) * 4 + step.lists.bytes();
}

void PlanKwta(const Layer& layer, Step& step, LayerSummary& summary) {
  step.kernel = StepKernel::kKwta;
  step.kwta = KwtaSizesOf(layer);
  step.winner_count = kernels::KwtaCountF32(step.kwta);
  step.scratch_floats = kernels::KwtaScratchFloats(step.kwta);
  summary.kernel = "kwta_f32";
}

void PlanPool(const Layer& layer, Step& step, LayerSummary& summary) {
  const bool max = layer.kind == LayerKind::kMaxPool;
  step.kernel = max ? StepKernel::kMaxPool : StepKernel::kAvgPool;
  summary.kernel = max ? "max_pool_f32" : "avg_pool_f32";
  step.pool = PoolShapeOf(layer);
}

/// With S = 1 a row of packed weights is a tap of all channels, whatever L.
void PlanDepthwise(const Layer& layer, Step& step, LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  step.kernel = StepKernel::kDepthwise;
  step.pool = PoolShapeOf(layer);
  step.weight = layer.weight_pnl.data();
  step.weight_stride = layout.outputs_padded();
  step.bias_o = layer.bias_o.data();
  summary.kernel = "depthwise_f32";
  summary.reason = "depthwise weights are dense";
  summary.weight_bytes = (layout.slots() + layout.outputs_padded()) * 4;
}

void PlanLayer(const Layer& layer, const Layer* behind, Mode mode, std::vector<Step>& before,
               Step& step, LayerSummary& summary) {
  switch (layer.kind) {
    case LayerKind::kConv2d:
      return PlanConv(layer, behind, mode, before, step, summary);
    case LayerKind::kDepthwiseConv2d:
      return PlanDepthwise(layer, step, summary);
    case LayerKind::kLinear:
      return PlanLinear(layer, mode, before, step, summary);
    case LayerKind::kAffine:
      step.kernel = StepKernel::kAffine;
      step.weight = layer.weight_pnl.data();
      step.bias_o = layer.bias_o.data();
      summary.kernel = "affine_f32";
      summary.nonzeros = layer.input.channels;
      summary.weights_dense = layer.input.channels;
      summary.weight_bytes = int64_t{layer.input.channels} * 8;
      summary.macs_dense = summary.macs_executed = layer.input.elements();
      return;
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return PlanPool(layer, step, summary);
    case LayerKind::kRelu:
      step.kernel = StepKernel::kRelu;
      summary.kernel = "relu_f32";
      return;
    case LayerKind::kKwta:
      return PlanKwta(layer, step, summary);
    case LayerKind::kFlatten:
      step.kernel = StepKernel::kNone;
      summary.kernel = "none";
      summary.reason = "channels last are flat already";
      return;
    case LayerKind::kAdd:
    case LayerKind::kMultiply:
    case LayerKind::kConcat:
      break;  // ValidateModel refuses them
  }
  BISPARSE_CHECK(false);
}

void MakeSegments(Plan& plan) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const bool batched = plan.steps[i].batched();
    if (batched || plan.segments.empty() || plan.segments.back().batched) {
      plan.segments.push_back({.begin = i, .end = i, .batched = batched});
    }
    plan.segments.back().end = i + 1;
  }
}

void MeasureWorkspace(Plan& plan) {
  for (const Step& step : plan.steps) {
    plan.scratch_floats = std::max(plan.scratch_floats, RoundToLine(step.scratch_floats));
    if (!step.batched()) {
      plan.chain_floats = std::max(plan.chain_floats, RoundToLine(step.output.elements()));
    }
    if (step.kernel == StepKernel::kKwta) {
      plan.winner_elements =
          std::max(plan.winner_elements, RoundToLine(step.winner_count + kernels::kKwtaSlack));
      if (step.kwta_begins) {
        plan.begin_elements =
            std::max(plan.begin_elements, RoundToLine(int64_t{step.kwta.positions} + 1));
      }
    }
  }
  for (size_t i = 0; i + 1 < plan.segments.size(); ++i) {
    const int64_t boundary = plan.steps[plan.segments[i].end - 1].output.elements();
    plan.block_floats = std::max(plan.block_floats, RoundToLine(Size(kBlockSamples) * boundary));
  }
}

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

bool CanSplit(const Step& step) {
  if (step.emits_winners) return false;  // whole vectors are stored behind a row's last winner
  switch (step.kernel) {
    case StepKernel::kConvDense:
    case StepKernel::kConvPackedDense:
    case StepKernel::kConvPackedPooled:
    case StepKernel::kConvPackedWinners:
    case StepKernel::kDepthwise:
    case StepKernel::kLinearDense:
    case StepKernel::kLinearPackedDense:
    case StepKernel::kLinearPackedWinners:
      return true;
    default:
      return false;
  }
}

bool CanSplit(const StepI8& step) {
  return step.kernel == StepKernelI8::kConvDense || step.kernel == StepKernelI8::kConvQuads ||
         step.kernel == StepKernelI8::kLinearDense;
}

void TellReasons(const ChosenWays& ways, std::vector<LayerSummary>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!ways.reason_i[i].empty()) layers[i].reason = ways.reason_i[i];
  }
}

/// Steps whose kernels take a part of their outputs, where that is worth other threads' while and all their scratch is
/// still a workspace that may be.
void MarkParallel(const EngineOptions& options, std::span<const double> cycles_i, Plan& plan) {
  if (options.threads < 2) return;
  int64_t& slots = plan.i8 ? plan.i8->slots : plan.slots;
  slots = options.threads;
  const bool fits = plan.workspace_bytes() <= packed::kMaxWorkspaceBytes;
  slots = 1;
  if (!fits) return;
  const double cycles = options.parallel_us * 1e3 * kNominalGhz;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    bool& parallel = plan.i8 ? plan.i8->steps[i].parallel : plan.steps[i].parallel;
    parallel =
        cycles_i[i] >= cycles && (plan.i8 ? CanSplit(plan.i8->steps[i]) : CanSplit(plan.steps[i]));
    plan.layers[i].parallel = parallel;
    if (parallel) slots = options.threads;
  }
}

}  // namespace

int64_t Plan::workspace_bytes() const {
  // Every buffer begins at a cache line; see Workspace.
  const Size words = Size(2) * chain_floats + Size(2) * block_floats +
                     Size(slots) * scratch_floats + Size(2) * winner_elements + begin_elements +
                     RoundToLine(input_elements);
  return (words * 4 + (i8 ? i8->arena_bytes() : 0)).value();
}

Plan MakePlan(const packed::Model& model, const EngineOptions& options, bool fuse,
              const CostMachine& machine) {
  const Outline outline(model, machine.isa);
  const ChosenWays ways = ChooseWays(outline, options, machine);
  Plan plan;
  plan.input_elements = model.input.elements();
  plan.output_elements = model.output_count();
  if (model.format == packed::NumberFormat::kI8) {
    plan.i8 = MakePlanI8(model, ways.mode_i, fuse, plan.layers);
    CheckWorkspace(model, plan);
    TellReasons(ways, plan.layers);
    MarkParallel(options, EstimateTimes(outline, machine, plan.layers), plan);
    return plan;
  }
  plan.steps.reserve(model.layers.size());
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    const Layer* behind = fuse && i + 1 < model.layers.size() ? &model.layers[i + 1] : nullptr;
    LayerSummary summary = Describe(layer);
    Step step;
    step.input = layer.input;
    step.output = layer.output;
    PlanLayer(layer, behind, ways.mode_i[i], plan.steps, step, summary);
    plan.steps.push_back(std::move(step));
    plan.layers.push_back(std::move(summary));
  }
  TellReasons(ways, plan.layers);
  if (fuse) Fuse(plan);
  MakeSegments(plan);
  MeasureWorkspace(plan);
  CheckWorkspace(model, plan);
  MarkParallel(options, EstimateTimes(outline, machine, plan.layers), plan);
  return plan;
}

}  // namespace bisparse
