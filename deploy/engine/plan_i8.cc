// SPDX-License-Identifier: Apache-2.0
// Chooses the int8 kernels. Read first: plan_i8.h.
#include "deploy/engine/plan_i8.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "deploy/base/check.h"
#include "deploy/engine/describe.h"
#include "deploy/ops/shared/matmul_i8.h"
#include "deploy/simd/cpu.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

int64_t RoundUp(Size n, int64_t to) { return n.RoundUp(to).value(); }

int32_t Owner(const packed::Layout& layout, const Layer& layer, int32_t n, int64_t p) {
  if (layout.packing.set_size == 1) return 0;
  return layer.owner_nr[static_cast<size_t>(n * layout.runs + layout.RunOf(p))];
}

/// The k-WTA whose list the layer behind `steps` could read.
StepI8* KwtaInFront(std::vector<StepI8>& steps, bool through_flatten) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->kernel == StepKernelI8::kKwta) return &*step;
    if (step->kernel != StepKernelI8::kNone || !through_flatten) return nullptr;
  }
  return nullptr;
}

/// Biases with the rounding term and shifts, padded to 16 outputs.
void PrepareEnds(const Layer& layer, int64_t outputs, StepI8& step) {
  step.bias_o = AlignedBuffer<int32_t>(static_cast<size_t>(RoundUp(outputs, 16)));
  step.shift_o = AlignedBuffer<int32_t>(step.bias_o.size());
  for (size_t o = 0; o < std::min<size_t>(layer.bias_i32_o.size(), step.bias_o.size()); ++o) {
    const int32_t shift = layer.shift_o.empty() ? 0 : layer.shift_o[o];
    step.shift_o.data()[o] = shift;
    step.bias_o.data()[o] = layer.bias_i32_o[o] + (shift > 0 ? 1 << (shift - 1) : 0);
  }
}

/// Unpacked weights in the order of matmul_i8: p = (ky, kx, c).
void PrepareDense(const Layer& layer, const packed::Layout& layout, StepI8& step,
                  LayerSummary& summary) {
  step.depth = RoundUp(layout.positions, 4);
  step.outputs = RoundUp(layout.shape.outputs, 16);
  step.weight = AlignedBuffer<int8_t>(static_cast<size_t>(step.depth * step.outputs));
  step.narrow = packed::AreNarrow(layer.weight_i8_pnl);
  const int64_t taps = int64_t{layout.shape.kernel_h} * layout.shape.kernel_w;
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t at = p % taps * layout.shape.channels + p / taps;
    for (int32_t n = 0; n < layout.sets; ++n) {
      for (int32_t l = 0; l < layout.packing.lanes; ++l) {
        const int64_t o = layout.Output(n, Owner(layout, layer, n, p), l);
        if (o >= layout.shape.outputs) break;
        step.weight.data()[kernels::MatMulWeightAt(at, o, step.outputs)] =
            layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
      }
    }
  }
  PrepareEnds(layer, layout.shape.outputs, step);
  // A few tiles of rows whose sums stay in L1.
  step.rows = std::clamp<int64_t>(16 * 1024 / (4 * step.outputs), 6, 24);
  summary.weight_bytes = step.depth * step.outputs + 4 * step.outputs;
}

/// What pads the map of the layer behind `before`: the step that means 0.
uint8_t InputZero(const packed::Model& model, const std::vector<StepI8>& before) {
  const bool first = std::none_of(before.begin(), before.end(),
                                  [](const StepI8& s) { return s.layer->HasWeights(); });
  return static_cast<uint8_t>(first ? model.input_zero : 0);
}

std::string QuadsKernelName(const kernels::ConvQuadsI8& conv, bool winners) {
  const char* form = conv.gathered ? "gathered_" : conv.by_sets ? "sets_" : "";
  return fmt::format("conv_quads_i8/{}{}", form, winners ? "winners" : "dense");
}

/// `behind`: the layers whose work may be done here.
void PlanConv(const packed::Model& model, const Layer& layer, std::span<const Layer> behind,
              Mode mode, std::vector<StepI8>& before, StepI8& step, LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  step.zero = InputZero(model, before);
  const bool pool = !behind.empty() && IsPoolOfTwo(behind[0]);
  const bool dense = mode == Mode::kDense;
  const std::string isa = kernels::IsaName();
  const bool taps_pool = pool && kernels::HasConvTapsI8(layer, true, dense, isa);
  if (taps_pool || kernels::HasConvTapsI8(layer, false, dense, isa)) {
    const size_t next = taps_pool ? 1 : 0;
    const int32_t group = behind.size() > next ? OneWinnerGroup(behind[next]) : 0;
    step.taps = kernels::PrepareConvTapsI8(layer, taps_pool, step.zero, dense, group);
    step.kernel = StepKernelI8::kConvTaps;
    summary.kernel = taps_pool ? "conv_taps_i8" : "conv_taps_i8/no_pool";
    summary.reason = dense ? "mode dense" : "one channel, read by taps";
    if (!dense) {
      summary.macs_executed = summary.nonzeros * layer.output.height * layer.output.width;
    }
    summary.weight_bytes = static_cast<int64_t>(2 * step.taps->weight.size());
    return;
  }
  StepI8* kwta =
      mode == Mode::kDense || mode == Mode::kSparseDense ? nullptr : KwtaInFront(before, false);
  if (kwta != nullptr && kwta->kwta.global) kwta = nullptr;
  summary.reason = mode == Mode::kDense ? "mode dense" : "";
  if (mode != Mode::kDense && (kwta != nullptr || layer.packing.set_size > 1)) {
    const int32_t channels = layer.input.channels;
    const int32_t slots = kwta ? kwta->kwta.winners * kwta->kwta.chunk : channels;
    step.quads = kernels::PrepareConvQuadsI8(layer, slots, kwta ? kwta->kwta.groups : channels,
                                             step.zero, pool);
    if (step.quads) {
      step.kernel = StepKernelI8::kConvQuads;
      step.reads_winners = kwta != nullptr;
      if (kwta) kwta->emits_winners = true;
      int64_t entries = 0;
      for (size_t b = 0; b + 1 < step.quads->begin_b.size(); ++b) {
        entries += step.quads->begin_b[b + 1] - step.quads->begin_b[b];
      }
      summary.kernel = QuadsKernelName(*step.quads, kwta != nullptr);
      summary.reason = kwta ? "weights and inputs are sparse" : "input is dense";
      summary.macs_executed = entries * layer.window.kernel_w * 4 * layer.packing.lanes *
                              layer.output.height * layer.output.width;
      summary.active_inputs = kwta ? kwta->winner_count : layer.input.elements();
      summary.weight_bytes = static_cast<int64_t>(step.quads->weight.size());
      return;
    }
    summary.reason = "no sparse int8 kernel for these owners: dense";
  }
  step.kernel = StepKernelI8::kConvDense;
  summary.kernel = "matmul_i8/conv";
  if (summary.reason.empty()) summary.reason = "weights are dense";
  PrepareDense(layer, layout, step, summary);
}

void PlanLinear(const Layer& layer, Mode mode, std::vector<StepI8>& before, StepI8& step,
                LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  StepI8* kwta =
      mode == Mode::kDense || mode == Mode::kSparseDense ? nullptr : KwtaInFront(before, true);
  const bool sparse = layer.packing.set_size > 1 && layout.blocks <= 65536;  // owners are u16
  if (mode == Mode::kDense || (kwta == nullptr && !sparse)) {
    step.kernel = StepKernelI8::kLinearDense;
    summary.kernel = "matmul_i8/linear";
    summary.reason = mode == Mode::kDense ? "mode dense" : "weights are dense";
    return PrepareDense(layer, layout, step, summary);
  }
  step.kernel = StepKernelI8::kLinearPacked;
  step.reads_winners = kwta != nullptr;
  if (kwta) kwta->emits_winners = true;
  if (sparse) {
    step.lanes = layout.packing.lanes;
    step.sets = layout.sets;
    step.outputs = layout.outputs_padded();
    for (int64_t p = 0; p < layout.positions; ++p) {
      for (int32_t n = 0; n < layout.sets; ++n) {
        step.owner_pn.push_back(
            static_cast<uint16_t>(n * layer.packing.set_size + Owner(layout, layer, n, p)));
      }
    }
  } else {  // whole registers, whatever L
    step.outputs = RoundUp(layout.shape.outputs, 16);
    step.lanes = static_cast<int32_t>(step.outputs);
    step.weight = AlignedBuffer<int8_t>(static_cast<size_t>(layout.positions * step.outputs));
    for (int64_t p = 0; p < layout.positions; ++p) {
      for (int64_t o = 0; o < layout.shape.outputs; ++o) {
        const auto n = static_cast<int32_t>(o / layout.packing.lanes);
        const auto l = static_cast<int32_t>(o % layout.packing.lanes);
        step.weight.data()[p * step.outputs + o] =
            layer.weight_i8_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
      }
    }
  }
  PrepareEnds(layer, step.outputs, step);
  const int64_t active = kwta ? kwta->winner_count : layer.input.elements();
  summary.kernel = kwta ? "linear_i8/winners" : "linear_i8/dense";
  summary.reason = kwta ? "inputs are sparse" : "input is dense";
  summary.active_inputs = active;
  summary.macs_executed = active * summary.nonzeros / layout.positions;
  summary.weight_bytes =
      static_cast<int64_t>(layer.weight_i8_pnl.size() + 2 * step.owner_pn.size());
}

void PlanPool(const Layer& layer, StepI8& step, LayerSummary& summary) {
  const bool max = layer.kind == LayerKind::kMaxPool;
  step.kernel = max ? StepKernelI8::kMaxPool : StepKernelI8::kAvgPool;
  summary.kernel = max ? "max_pool_u8" : "avg_pool_u8";
  step.pool = PoolShapeOf(layer);
}

/// With S = 1 a row of packed weights is a tap of all channels, whatever L.
void PlanDepthwise(const packed::Model& model, const Layer& layer,
                   const std::vector<StepI8>& before, StepI8& step, LayerSummary& summary) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  step.kernel = StepKernelI8::kDepthwise;
  step.zero = InputZero(model, before);
  step.pool = PoolShapeOf(layer);
  step.outputs = layout.outputs_padded();
  step.rows = layer.output.width;
  PrepareEnds(layer, layout.shape.outputs, step);
  summary.kernel = "depthwise_i8";
  summary.reason = "depthwise weights are dense";
  if (!layer.shift_o.empty()) {
    step.columns =
        kernels::PrepareDepthwiseColumnsI8(step.pool, step.zero, layer.weight_i8_pnl.data(),
                                           step.outputs, step.bias_o.data(), step.shift_o.data());
    if (step.columns) summary.kernel = "depthwise_i8/columns";
  }
  summary.weight_bytes = layout.slots() + 4 * step.outputs;
}

void PlanKwta(const Layer& layer, StepI8& step, LayerSummary& summary) {
  step.kernel = StepKernelI8::kKwta;
  summary.kernel = "kwta_u8";
  step.kwta = {.positions = layer.input.height * layer.input.width,
               .channels = layer.input.channels,
               .winners = layer.kwta.winners,
               .groups = layer.kwta.groups,
               .chunk = layer.kwta.chunk,
               .global = layer.kwta.scope == packed::KwtaScope::kGlobal};
  step.winner_count =
      int64_t{step.kwta.winners} * step.kwta.chunk * (step.kwta.global ? 1 : step.kwta.positions);
}

/// Layer i; `before`: the steps in front of it, which may be told what it reads.
StepI8 PlanLayer(const packed::Model& model, size_t i, std::span<const Layer> behind, Mode mode,
                 std::vector<StepI8>& before, LayerSummary& summary) {
  const Layer& layer = model.layers[i];
  StepI8 step;
  step.layer = &layer;
  switch (layer.kind) {
    case LayerKind::kConv2d:
      PlanConv(model, layer, behind, mode, before, step, summary);
      break;
    case LayerKind::kDepthwiseConv2d:
      PlanDepthwise(model, layer, before, step, summary);
      break;
    case LayerKind::kLinear:
      PlanLinear(layer, mode, before, step, summary);
      break;
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      PlanPool(layer, step, summary);
      if (i > 0 && before[i - 1].PoolsToo()) {
        step.done_by_other = true;
        summary.kernel = "none";
        summary.reason = "done by the layer in front";
      }
      break;
    case LayerKind::kKwta:
      PlanKwta(layer, step, summary);
      break;
    case LayerKind::kRelu:
      summary.reason = "u8 has no negative values";
      break;
    case LayerKind::kFlatten:
      summary.reason = "channels last are flat already";
      break;
    case LayerKind::kAffine:
      BISPARSE_CHECK(i == 0);  // ValidateModel refuses others
      summary.kernel = "affine_f32";
      summary.reason = "done where the input becomes bytes";
      summary.nonzeros = summary.weights_dense = layer.input.channels;
      summary.weight_bytes = int64_t{layer.input.channels} * 8;
      summary.macs_dense = summary.macs_executed = layer.input.elements();
      break;
    case LayerKind::kAdd:
    case LayerKind::kMultiply:
    case LayerKind::kConcat:
      BISPARSE_CHECK(false);  // ValidateModel refuses them
  }
  return step;
}

/// Winners where conv_taps_i8 makes them, in the form in which conv_quads_i8 reads them.
void FuseWinners(PlanI8& plan, std::vector<LayerSummary>& layers) {
  for (size_t i = 0; i + 2 < plan.steps.size(); ++i) {
    StepI8& conv = plan.steps[i];
    if (!conv.taps || conv.taps->group == 0) continue;
    const size_t behind = i + (conv.PoolsToo() ? 2 : 1);
    StepI8& kwta = plan.steps[behind];
    if (!kwta.emits_winners) continue;
    conv.emits_winners = true;
    conv.winner_count = kwta.winner_count;
    kwta.done_by_other = true;
    layers[behind].kernel = "none";
    layers[behind].reason = "done by " + layers[i].name;
    if (behind + 1 >= plan.steps.size() || !plan.steps[behind + 1].quads) continue;
    StepI8& reader = plan.steps[behind + 1];
    if (!reader.quads->reads_in_place()) continue;
    conv.line_step = reader.quads->channel_step;
    reader.reads_lines = true;
  }
}

void Measure(PlanI8& plan) {
  for (const StepI8& step : plan.steps) {
    const Layer& layer = *step.layer;
    plan.map_bytes = std::max({plan.map_bytes, layer.input.elements(), layer.output.elements()});
    if (step.kernel == StepKernelI8::kConvDense) {
      plan.scratch_bytes = std::max(plan.scratch_bytes, step.rows * step.depth);
      plan.acc_bytes = std::max(plan.acc_bytes, 4 * step.rows * step.outputs);
    } else if (step.kernel == StepKernelI8::kDepthwise) {
      plan.acc_bytes = std::max(plan.acc_bytes, 4 * step.rows * layer.output.channels);
      if (step.columns) {
        plan.scratch_bytes = std::max(plan.scratch_bytes, step.columns->scratch_bytes());
      }
    } else if (step.kernel == StepKernelI8::kConvTaps) {
      plan.scratch_bytes = std::max(plan.scratch_bytes, step.taps->scratch_bytes());
    } else if (step.kernel == StepKernelI8::kConvQuads) {
      plan.scratch_bytes = std::max(plan.scratch_bytes, step.quads->scratch_bytes());
    } else if (layer.kind == LayerKind::kLinear) {
      plan.scratch_bytes = std::max(plan.scratch_bytes, step.depth);
      plan.acc_bytes = std::max(plan.acc_bytes, 4 * RoundUp(step.outputs, 16));
    } else if (step.kernel == StepKernelI8::kKwta) {
      plan.winner_elements =
          std::max(plan.winner_elements, step.winner_count + kernels::kKwtaSlack);
    }
  }
  for (int64_t* bytes :
       {&plan.map_bytes, &plan.scratch_bytes, &plan.acc_bytes, &plan.winner_elements}) {
    *bytes = RoundUp(*bytes, 64);
  }
}

}  // namespace

PlanI8 MakePlanI8(const packed::Model& model, std::span<const Mode> mode_i, bool fuse,
                  std::vector<LayerSummary>& layers) {
  PlanI8 plan{.input_affine = packed::InputAffine(model),
              .input_scale = model.input_scale,
              .input_zero = model.input_zero};
  plan.map_bytes = model.input.elements();
  plan.steps.reserve(model.layers.size());  // steps point at the ones in front of them
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    const std::span<const Layer> behind =
        fuse ? std::span(model.layers).subspan(i + 1) : std::span<const Layer>();
    LayerSummary summary = Describe(layer);
    plan.steps.push_back(PlanLayer(model, i, behind, mode_i[i], plan.steps, summary));
    layers.push_back(std::move(summary));
  }
  FuseWinners(plan, layers);
  Measure(plan);
  return plan;
}

}  // namespace bisparse
