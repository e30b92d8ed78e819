// SPDX-License-Identifier: Apache-2.0
// Read first: choose.h. Tested in: choose_test.cc.
#include "deploy/engine/choose.h"

#include <algorithm>
#include <string>

#include "deploy/base/check.h"
#include "deploy/engine/describe.h"
#include "deploy/kernels/conv_quads_i8.h"
#include "deploy/kernels/conv_taps_i8.h"
#include "deploy/kernels/cpu.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::NumberFormat;

/// The max-pool behind layer i that some kernels do too, or null.
const Layer* PoolBehind(const packed::Model& model, size_t i) {
  if (i + 1 >= model.layers.size() || !IsPoolOfTwo(model.layers[i + 1])) return nullptr;
  return &model.layers[i + 1];
}

bool PoolsToo(std::string_view kernel) {
  return kernel.find("/pooled_") != std::string_view::npos || kernel == "conv_taps_i8" ||
         kernel.starts_with("conv_quads_i8");
}

/// The kernel that reads every input, in mode sparse_dense or dense.
const char* KernelOfMap(const Layer& layer, NumberFormat format, Mode mode, bool pool) {
  const bool conv = layer.kind == LayerKind::kConv2d;
  const bool sparse = mode == Mode::kSparseDense && layer.packing.set_size > 1;
  if (format == NumberFormat::kI8) {
    const bool dense = mode == Mode::kDense;
    if (conv && pool && kernels::HasConvTapsI8(layer, true, dense)) return "conv_taps_i8";
    if (conv && kernels::HasConvTapsI8(layer, false, dense)) return "conv_taps_i8/no_pool";
    if (conv && sparse && kernels::FitsConvQuadsI8(layer)) {
      if (layer.packing.lanes == 8) return "conv_quads_i8/gathered_dense";
      return !pool && kernels::FitsConvQuadsBySets(layer, layer.input.channels)
                 ? "conv_quads_i8/sets_dense"
                 : "conv_quads_i8/dense";
    }
    if (conv) return "matmul_i8/conv";
    return sparse ? "linear_i8/dense" : "matmul_i8/linear";
  }
  if (!sparse) return conv ? "conv_dense_f32" : "linear_dense_f32";
  if (!conv) return "linear_packed_f32/dense";
  if (layer.packing.lanes == 1) return "conv_packed_f32/columns";
  return pool && layer.packing.lanes == 16 ? "conv_packed_f32/pooled_lanes"
                                           : "conv_packed_f32/lanes";
}

CostMachine MachineOf(const packed::Model& model) {
  CostMachine machine{.isa = kernels::IsaName(), .caches = MachineCaches()};
  for (const Layer& layer : model.layers) {
    machine.touched_bytes +=
        static_cast<int64_t>(layer.weight_pnl.size_bytes() + layer.weight_i8_pnl.size_bytes());
  }
  return machine;
}

double CyclesWithPool(const packed::Model& model, size_t i, const LayerUse& use,
                      const CostMachine& machine) {
  double cycles = EstimateCycles(model.layers[i], use, machine);
  const Layer* pool = PoolBehind(model, i);
  if (pool == nullptr || PoolsToo(use.kernel)) return cycles;
  const bool f32 = model.format == NumberFormat::kF32;
  return cycles + EstimateCycles(*pool, {.kernel = f32 ? "max_pool_f32" : "max_pool_u8"}, machine);
}

LayerUse UseOfMap(const packed::Model& model, size_t i, Mode mode) {
  const Layer& layer = model.layers[i];
  return {.kernel = KernelOfMap(layer, model.format, mode, PoolBehind(model, i) != nullptr),
          .active_inputs = layer.input.elements(),
          .dense_weights = mode == Mode::kDense,
          .quantises = i == 0 && model.format == NumberFormat::kI8};
}

/// µs if owners did not depend on which channel of a group wins; 0 where that changes nothing.
double AlignedUs(const packed::Model& model, const std::vector<LayerSummary>& layers, size_t i,
                 const CostMachine& machine) {
  const Layer& layer = model.layers[i];
  if (layer.kind != LayerKind::kConv2d || layer.packing.set_size == 1 || i == 0) return 0;
  const Layer& kwta = model.layers[i - 1];
  const std::string& kernel = layers[i].kernel;
  const bool aligned = kernel.find("/aligned_") != std::string::npos ||
                       kernel.starts_with("conv_taps_i8") ||
                       (kernel.starts_with("conv_quads_i8") && kernel.ends_with("winners"));
  if (aligned || kwta.kind != LayerKind::kKwta || kwta.kwta.scope != packed::KwtaScope::kLocal) {
    return 0;
  }
  Layer other = layer;
  const bool f32 = model.format == NumberFormat::kF32;
  const bool eight = !f32 && layer.packing.lanes == 8;
  if (layer.packing.lanes % 4 != 0 || (!f32 && !eight)) other.packing.lanes = packed::kMaxLanes;
  if (!f32 && !kernels::FitsConvQuadsI8(other)) return 0;
  const packed::Window& w = layer.window;
  const bool rows = w.stride_w == 1 && (w.kernel_w == 3 || w.kernel_w == 5);
  const char* best = eight  ? "conv_quads_i8/gathered_winners"
                     : !f32 ? "conv_quads_i8/winners"
                     : rows ? "conv_packed_f32/aligned_rows"
                            : "conv_packed_f32/aligned_taps";
  const LayerUse use{.kernel = best,
                     .active_inputs = int64_t{kwta.kwta.winners} * kwta.kwta.chunk *
                                      layer.input.height * layer.input.width};
  return EstimateCycles(other, use, machine) / ClockGhz() * 1e-3;
}

}  // namespace

Chooser::Chooser(const packed::Model& model, const EngineOptions& options)
    : model_(model), options_(options), machine_(MachineOf(model)) {
  for (const LayerChoice& choice : options.choices) {
    const bool known = std::any_of(model.layers.begin(), model.layers.end(),
                                   [&](const Layer& layer) { return layer.name == choice.layer; });
    if (!known) {
      Fail(ErrorKind::kConfiguration, "EngineOptions",
           "choices name a layer '{}' that model '{}' lacks", choice.layer, model.name);
    }
  }
}

const LayerChoice* Chooser::ChoiceOf(size_t i) const {
  if (options_.mode != Mode::kAuto) return nullptr;
  const auto choice =
      std::find_if(options_.choices.begin(), options_.choices.end(), [&](const LayerChoice& c) {
        return c.layer == model_.layers[i].name && c.mode != Mode::kAuto;
      });
  return choice == options_.choices.end() ? nullptr : &*choice;
}

bool Chooser::HasWays(size_t i) const {
  const LayerKind kind = model_.layers[i].kind;
  return kind == LayerKind::kConv2d || kind == LayerKind::kLinear;
}

double Chooser::Cycles(size_t i, const LayerSummary& summary) const {
  LayerUse use = UseOf(std::span(&summary, 1), 0, model_.format);
  use.quantises = use.quantises && i == 0;
  return Cycles(i, use);
}

double Chooser::SketchCycles(size_t i, Mode mode) const {
  return Cycles(i, UseOfMap(model_, i, mode));
}

double Chooser::Cycles(size_t i, const LayerUse& use) const {
  CostMachine machine = machine_;
  if (use.dense_weights) {  // larger than the packed ones that the sum holds
    const Layer& layer = model_.layers[i];
    machine.touched_bytes +=
        layer.kernel().weights() * (model_.format == NumberFormat::kF32 ? 4 : 1);
  }
  return CyclesWithPool(model_, i, use, machine);
}

void Chooser::Explain(Mode mode, double cycles, double other_cycles,
                      const std::string& other_kernel, LayerSummary& summary) {
  const double us = 1e-3 / ClockGhz();
  summary.reason = fmt::format("{}: {:.3g} us expected against {:.3g} us by {}",
                               mode == Mode::kDense ? "dense is faster" : "the whole map is faster",
                               cycles * us, other_cycles * us, other_kernel);
}

void EstimateTimes(const packed::Model& model, std::vector<LayerSummary>& layers) {
  CostMachine machine{.isa = kernels::IsaName(), .caches = MachineCaches()};
  const auto touched = [&](size_t i, const LayerUse& use) {
    return static_cast<int64_t>(64 *
                                CountWork(model.layers[i], use, VectorBytes(machine.isa)).lines);
  };
  CostMachine dense = machine;
  const auto dense_use = [&](size_t i) {
    LayerUse use = UseOf(layers, i, model.format);
    const LayerKind kind = model.layers[i].kind;
    if (kind == LayerKind::kConv2d || kind == LayerKind::kLinear)
      return UseOfMap(model, i, Mode::kDense);
    const bool f32 = model.format == NumberFormat::kF32;
    const bool pooled = i > 0 && PoolBehind(model, i - 1) != nullptr &&
                        model.layers[i - 1].kind == LayerKind::kConv2d &&
                        PoolsToo(UseOfMap(model, i - 1, Mode::kDense).kernel);
    if (kind == LayerKind::kMaxPool) {
      use.kernel = pooled ? "none" : f32 ? "max_pool_f32" : "max_pool_u8";
    }
    if (kind == LayerKind::kKwta) {
      use.kernel = f32 ? "kwta_f32" : "kwta_u8";
      use.writes_map = true;
    }
    return use;
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    machine.touched_bytes += touched(i, UseOf(layers, i, model.format));
    dense.touched_bytes += touched(i, dense_use(i));
  }
  const double us = 1e-3 / ClockGhz();
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].expected_us =
        us * EstimateCycles(model.layers[i], UseOf(layers, i, model.format), machine);
    layers[i].dense_us = us * EstimateCycles(model.layers[i], dense_use(i), dense);
    layers[i].aligned_us = AlignedUs(model, layers, i, machine);
  }
}

}  // namespace bisparse
