// SPDX-License-Identifier: Apache-2.0
// Says in advance what plan.cc, plan_i8.cc and fuse.cc do. Read first: outline.h.
#include "deploy/engine/outline.h"

#include <algorithm>
#include <utility>

#include "deploy/engine/describe.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/ops/conv/conv_taps_i8.h"
#include "deploy/ops/depthwise/depthwise_columns_i8.h"
#include "deploy/simd/cpu.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

constexpr Mode kWays[] = {Mode::kSparseSparse, Mode::kSparseDense, Mode::kDense};

bool IsGlobal(const Layer& kwta) { return kwta.kwta.scope == packed::KwtaScope::kGlobal; }

int64_t WinnersOf(const Layer& kwta) { return kernels::KwtaCountF32(KwtaSizesOf(kwta)); }

const char* NameOf(kernels::ConvPackedForm form) {
  using kernels::ConvPackedForm;
  switch (form) {
    case ConvPackedForm::kLanes:
      return "conv_packed_f32/lanes";
    case ConvPackedForm::kColumns:
      return "conv_packed_f32/columns";
    case ConvPackedForm::kPooledColumns:
      return "conv_packed_f32/pooled_columns";
    case ConvPackedForm::kPooledLanes:
      return "conv_packed_f32/pooled_lanes";
    case ConvPackedForm::kAlignedRows:
      return "conv_packed_f32/aligned_rows";
    case ConvPackedForm::kAlignedTaps:
      return "conv_packed_f32/aligned_taps";
    case ConvPackedForm::kScattered:
      break;
  }
  return "conv_packed_f32/scattered";
}

const char* NameOf(const kernels::ConvQuadsI8& conv, bool winners) {
  if (conv.gathered) {
    return winners ? "conv_quads_i8/gathered_winners" : "conv_quads_i8/gathered_dense";
  }
  if (conv.by_sets) return winners ? "conv_quads_i8/sets_winners" : "conv_quads_i8/sets_dense";
  return winners ? "conv_quads_i8/winners" : "conv_quads_i8/dense";
}

bool SameWork(const LayerUse& a, const LayerUse& b) {
  return a.kernel == b.kernel && a.active_inputs == b.active_inputs &&
         a.dense_weights == b.dense_weights;
}

}  // namespace

Outline::Outline(const packed::Model& model, std::string isa)
    : model_(model),
      isa_(std::move(isa)),
      f32_(model.format == packed::NumberFormat::kF32),
      ways_i_(model.layers.size()) {
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerKind kind = model.layers[i].kind;
    if (kind != LayerKind::kConv2d && kind != LayerKind::kLinear) continue;
    with_ways_.push_back(i);
    Ways& ways = ways_i_[i];
    for (const Mode mode : kWays) {
      const Way& way = ways.by_mode[static_cast<size_t>(mode)] = MakeWay(i, mode);
      const bool known = std::any_of(ways.modes.begin(), ways.modes.end(), [&](Mode other) {
        return SameWork(way.use, WayOf(i, other).use);
      });
      if (!known) ways.modes.push_back(mode);
    }
  }
}

const Layer* Outline::KwtaBefore(size_t i) const {
  const bool linear = model_.layers[i].kind == LayerKind::kLinear;
  while (i-- > 0) {
    const LayerKind kind = model_.layers[i].kind;
    if (kind == LayerKind::kKwta) return &model_.layers[i];
    // A convolution needs the map's own positions, which a flatten takes away.
    const bool nothing = kind == LayerKind::kFlatten || (kind == LayerKind::kRelu && !f32_);
    if (!nothing || !linear) return nullptr;
  }
  return nullptr;
}

size_t Outline::KwtaFrom(size_t i) const {
  const std::vector<Layer>& layers = model_.layers;
  if (i < layers.size() && layers[i].kind == LayerKind::kRelu) ++i;
  return i < layers.size() && layers[i].kind == LayerKind::kKwta ? i : 0;
}

void Outline::MakeConvF32(size_t i, Mode mode, const Layer* kwta, Way& way) const {
  const Layer& layer = model_.layers[i];
  const packed::Layout layout(layer.kernel(), layer.packing);
  way.use.kernel = "conv_dense_f32";
  if (kwta != nullptr) {
    const int32_t per_position = IsGlobal(*kwta) ? 0 : kwta->kwta.winners * kwta->kwta.chunk;
    way.use.kernel = NameOf(kernels::ConvPackedWinnersForm(
        layout, layer.window,
        {.per_position = per_position, .groups = per_position == 0 ? 1 : kwta->kwta.groups},
        layer.owner_nr));
    return;
  }
  if (mode == Mode::kDense || layer.packing.set_size == 1) return;
  if (i + 1 < model_.layers.size() && IsPoolOfTwo(model_.layers[i + 1])) {
    const auto form =
        kernels::ConvPackedPooledForm(layout, layer.window, layer.input, layer.output);
    if (form) {
      way.use.kernel = NameOf(*form);
      way.pools = true;
      const size_t after = KwtaFrom(i + 2);
      kernels::ConvPackedPlanF32 plan;
      plan.form = *form;
      if (after > 0 && kernels::CanPoolWinnersF32(plan, KwtaSizesOf(model_.layers[after]))) {
        way.makes_kwta = after;
      }
      return;
    }
  }
  way.use.kernel = NameOf(layer.packing.lanes > 1 ? kernels::ConvPackedForm::kLanes
                                                  : kernels::ConvPackedForm::kColumns);
}

void Outline::MakeConvI8(size_t i, Mode mode, const Layer* kwta, Way& way) const {
  const Layer& layer = model_.layers[i];
  const bool dense = mode == Mode::kDense;
  const bool pool = i + 1 < model_.layers.size() && IsPoolOfTwo(model_.layers[i + 1]);
  const bool taps_pool = pool && kernels::HasConvTapsI8(layer, true, dense, isa_);
  if (taps_pool || kernels::HasConvTapsI8(layer, false, dense, isa_)) {
    way.use.kernel = taps_pool ? "conv_taps_i8" : "conv_taps_i8/no_pool";
    way.use.active_inputs = layer.input.elements();
    way.reads_winners = false;
    way.pools = taps_pool;
    const size_t after = i + (taps_pool ? 2 : 1);
    if (after < model_.layers.size() && OneWinnerGroup(model_.layers[after]) > 0 &&
        kernels::ConvTapsMakesWinners(layer.output.channels)) {
      way.makes_kwta = after;
    }
    return;
  }
  if (kwta != nullptr || (!dense && layer.packing.set_size > 1)) {
    const int32_t channels = layer.input.channels;
    const int32_t slots = kwta != nullptr ? kwta->kwta.winners * kwta->kwta.chunk : channels;
    const auto quads = kernels::OutlineConvQuadsI8(
        layer, slots, kwta != nullptr ? kwta->kwta.groups : channels, pool, isa_);
    if (quads) {
      way.use.kernel = NameOf(*quads, kwta != nullptr);
      way.pools = pool;
      return;
    }
  }
  way.use.kernel = "matmul_i8/conv";
  way.use.active_inputs = layer.input.elements();
  way.reads_winners = false;
}

Outline::Way Outline::MakeWay(size_t i, Mode mode) const {
  const Layer& layer = model_.layers[i];
  const Layer* kwta = mode == Mode::kSparseSparse ? KwtaBefore(i) : nullptr;
  const bool conv = layer.kind == LayerKind::kConv2d;
  if (conv && !f32_ && kwta != nullptr && IsGlobal(*kwta)) kwta = nullptr;
  const bool dense = mode == Mode::kDense || layer.packing.set_size == 1;
  Way way;
  way.use.active_inputs = kwta != nullptr ? WinnersOf(*kwta) : layer.input.elements();
  way.use.dense_weights = dense;
  way.use.quantises = i == 0 && !f32_;
  way.reads_winners = kwta != nullptr;
  if (conv) {
    f32_ ? MakeConvF32(i, mode, kwta, way) : MakeConvI8(i, mode, kwta, way);
  } else if (f32_) {
    way.use.kernel = dense ? (kwta ? "linear_dense_f32/winners" : "linear_dense_f32")
                           : (kwta ? "linear_packed_f32/winners" : "linear_packed_f32/dense");
  } else {
    const packed::Layout layout(layer.kernel(), layer.packing);
    const bool packed = !dense && layout.blocks <= 65536;  // owners are u16
    way.use.kernel = kwta ? "linear_i8/winners" : packed ? "linear_i8/dense" : "matmul_i8/linear";
  }
  return way;
}

bool Outline::ReadsWinnersOf(size_t kwta, std::span<const Mode> mode_i) const {
  for (size_t i = kwta + 1; i < model_.layers.size(); ++i) {
    if (HasWays(i)) {
      return WayOf(i, mode_i[i]).reads_winners && KwtaBefore(i) == &model_.layers[kwta];
    }
  }
  return false;
}

const char* Outline::KernelOf(size_t i, std::span<const Mode> mode_i) const {
  const Layer& layer = model_.layers[i];
  const Way* before = i > 0 && HasWays(i - 1) ? &WayOf(i - 1, mode_i[i - 1]) : nullptr;
  switch (layer.kind) {
    case LayerKind::kDepthwiseConv2d:
      if (f32_) return "depthwise_f32";
      return kernels::IsAvx3Dl(isa_) && !layer.shift_o.empty() &&
                     kernels::FitsDepthwiseColumnsI8(PoolShapeOf(layer))
                 ? "depthwise_i8/columns"
                 : "depthwise_i8";
    case LayerKind::kAffine:
      return "affine_f32";
    case LayerKind::kAvgPool:
      return f32_ ? "avg_pool_f32" : "avg_pool_u8";
    case LayerKind::kMaxPool: {
      if (before != nullptr && before->pools) return "none";
      const size_t after = KwtaFrom(i + 1);
      const bool in_kwta = f32_ && IsPoolOfTwo(layer) && after > 0 &&
                           kernels::KwtaPoolsF32(KwtaSizesOf(model_.layers[after]));
      return in_kwta ? "none" : f32_ ? "max_pool_f32" : "max_pool_u8";
    }
    case LayerKind::kRelu: {
      if (!f32_ || KwtaFrom(i) > 0) return "none";
      const bool fused = (before != nullptr && (before->use.kernel == "conv_dense_f32" ||
                                                before->use.kernel.starts_with("linear_dense"))) ||
                         (i > 0 && model_.layers[i - 1].kind == LayerKind::kDepthwiseConv2d);
      return fused ? "none" : "relu_f32";
    }
    case LayerKind::kKwta: {
      size_t maker = i;
      while (maker > 0 && !HasWays(maker)) --maker;
      const bool made = HasWays(maker) && WayOf(maker, mode_i[maker]).makes_kwta == i;
      if (made && ReadsWinnersOf(i, mode_i)) return "none";
      return f32_ ? "kwta_f32" : "kwta_u8";
    }
    default:
      return "none";
  }
}

void Outline::Uses(std::span<const Mode> mode_i, size_t begin, size_t end,
                   std::span<LayerUse> use_i) const {
  for (size_t i = begin; i < end; ++i) {
    use_i[i] = HasWays(i) ? WayOf(i, mode_i[i]).use
                          : LayerUse{.kernel = KernelOf(i, mode_i),
                                     .active_inputs = model_.layers[i].input.elements(),
                                     .dense_weights = true,
                                     .quantises = i == 0 && !f32_};
  }
  const size_t size = model_.layers.size();
  if (end < size) use_i[end] = WayOf(end, mode_i[end]).use;
  for (size_t i = begin; i < end; ++i) {
    if (model_.layers[i].kind != LayerKind::kKwta || use_i[i].kernel == "none") continue;
    size_t reader = i + 1;
    while (reader < size && use_i[reader].kernel == "none") ++reader;
    use_i[i].writes_map =
        reader == size || (!use_i[reader].kernel.ends_with("winners") &&
                           use_i[reader].active_inputs == model_.layers[reader].input.elements());
  }
}

std::vector<LayerUse> Outline::Uses(std::span<const Mode> mode_i) const {
  std::vector<LayerUse> use_i(model_.layers.size());
  Uses(mode_i, 0, use_i.size(), use_i);
  return use_i;
}

}  // namespace bisparse
