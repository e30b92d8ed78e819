// SPDX-License-Identifier: Apache-2.0
// Read first: outline.h.
#include "deploy/engine/outline.h"

#include <algorithm>
#include <utility>

#include "deploy/ops/lists.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse {
namespace {

using ops::Use;
using packed::Layer;
using packed::LayerKind;

constexpr Mode kWays[] = {Mode::kSparseSparse, Mode::kSparseDense, Mode::kDense};

bool SameWork(const Use& a, const Use& b) {
  return a.kernel == b.kernel && a.active_inputs == b.active_inputs &&
         a.dense_weights == b.dense_weights;
}

}  // namespace

Outline::Outline(const packed::Model& model, std::string isa, bool fuse)
    : model_(model),
      graph_(model),
      isa_(std::move(isa)),
      fuse_(fuse),
      f32_(model.format == packed::NumberFormat::kF32),
      ways_i_(model.layers.size()) {
  if (!f32_) steps_v_ = packed::Quantisations(model);
  for (size_t i = 0; i < model.layers.size(); ++i) neighbours_i_.push_back(FindNeighbours(i));
  for (size_t i = 0; i < model.layers.size(); ++i) {
    Ways& ways = ways_i_[i];
    const bool nothing = ops::KernelsOf(model.layers[i].kind, model.format).empty();
    for (const Mode mode : kWays) {
      Use& use = ways.by_mode[static_cast<size_t>(mode)];
      if (nothing) {
        use = {.active_inputs = model.layers[i].input.elements(),
               .reason = "channels last are flat already"};
      } else {
        const ops::Node node = NodeAt(i, mode);
        use = ops::ChooseKernel(node).UseOf(node);
        use.quantises = !f32_ && ProducerOf(i) < 0;
      }
      const bool known = std::any_of(ways.modes.begin(), ways.modes.end(),
                                     [&](Mode other) { return SameWork(use, WayOf(i, other)); });
      if (!known) ways.modes.push_back(mode);
    }
    if (ways.modes.size() > 1) with_ways_.push_back(i);
  }
}

int32_t Outline::ReaderOf(int32_t value) const {
  const std::span<const int32_t> readers = graph_.readers(value);
  return readers.size() == 1 ? readers[0] : -1;
}

int32_t Outline::KwtaBefore(size_t i) const {
  const LayerKind kind = model_.layers[i].kind;
  if (kind != LayerKind::kConv2d && kind != LayerKind::kLinear) return -1;
  int32_t value = ProducerOf(i);
  // A convolution needs the map's own positions, which a flatten takes away.
  while (kind == LayerKind::kLinear && value >= 0 && IsNothing(static_cast<size_t>(value))) {
    value = ProducerOf(static_cast<size_t>(value));
  }
  return value >= 0 && KindOf(value) == LayerKind::kKwta ? value : -1;
}

Outline::Neighbours Outline::FindNeighbours(size_t i) const {
  Neighbours n{.winners = KwtaBefore(i)};
  if (!fuse_) return n;
  const auto is_kind = [&](int32_t layer, LayerKind kind) {
    return layer >= 0 && KindOf(layer) == kind;
  };
  const auto is_pool = [&](int32_t layer) {
    return layer >= 0 && ops::IsPoolOfTwo(model_.layers[static_cast<size_t>(layer)]);
  };
  const auto self = static_cast<int32_t>(i);
  if (is_kind(self, LayerKind::kKwta)) {
    int32_t before = ProducerOf(i);
    if (is_kind(before, LayerKind::kRelu) && ReaderOf(before) == self) {
      before = ProducerOf(static_cast<size_t>(before));
    }
    // The pool's one reader is this k-WTA, or the relu that it alone reads.
    if (is_pool(before)) {
      int32_t reader = ReaderOf(before);
      if (is_kind(reader, LayerKind::kRelu)) reader = ReaderOf(reader);
      if (reader == self) n.pool = before;
    }
    return n;
  }
  const int32_t reader = ReaderOf(self);
  if (is_kind(reader, LayerKind::kRelu)) n.relu = reader;
  if (is_pool(reader)) n.pool = reader;
  int32_t after = n.pool >= 0 ? ReaderOf(n.pool) : reader;
  if (is_kind(after, LayerKind::kRelu)) after = ReaderOf(after);
  if (is_kind(after, LayerKind::kKwta)) n.kwta = after;
  return n;
}

ops::Node Outline::NodeAt(size_t i, Mode mode) const {
  const Neighbours& n = neighbours_i_[i];
  const auto layer = [&](int32_t at) {
    return at < 0 ? nullptr : &model_.layers[static_cast<size_t>(at)];
  };
  std::vector<ops::Node::Input> inputs;
  for (const int32_t value : graph_.inputs(static_cast<int64_t>(i))) {
    const auto v = static_cast<size_t>(value);
    const auto [scale, zero] = StepsOf(value >= 0 && ReluIsOfReaders(v) ? ProducerOf(v) : value);
    inputs.push_back({value < 0 ? model_.input : model_.layers[v].output, zero, scale});
  }
  return {.layer = &model_.layers[i],
          .format = model_.format,
          .mode = mode,
          .isa = isa_,
          .winners = mode == Mode::kSparseSparse ? layer(n.winners) : nullptr,
          .pool = layer(n.pool),
          .kwta = layer(n.kwta),
          .relu = n.relu >= 0,
          .inputs = std::move(inputs)};
}

bool Outline::IsNothing(size_t i) const {
  const LayerKind kind = model_.layers[i].kind;
  if (kind == LayerKind::kFlatten) return true;
  if (f32_) return false;
  // Of a value without negative steps; an affine that is done where the features become bytes.
  return kind == LayerKind::kAffine ||
         (kind == LayerKind::kRelu && StepsOf(ProducerOf(i)).zero == 0);
}

bool Outline::PoolIsDone(size_t i, std::span<const Mode> mode_i, const char** reason) const {
  const int32_t before = ProducerOf(i);
  if (before >= 0 && neighbours_i_[static_cast<size_t>(before)].pool == static_cast<int32_t>(i) &&
      WayOf(static_cast<size_t>(before), mode_i[static_cast<size_t>(before)]).pools) {
    *reason = "done by the layer before it";
    return true;
  }
  int32_t after = ReaderOf(static_cast<int32_t>(i));
  if (after >= 0 && KindOf(after) == LayerKind::kRelu) after = ReaderOf(after);
  if (after < 0 || KindOf(after) != LayerKind::kKwta) return false;
  if (neighbours_i_[static_cast<size_t>(after)].pool != static_cast<int32_t>(i)) return false;
  *reason = "done by the k-WTA after it";
  return WayOf(static_cast<size_t>(after), Mode::kSparseSparse).pools;
}

bool Outline::ReluIsDone(size_t i, std::span<const Mode> mode_i, const char** reason) const {
  if (IsNothing(i)) {
    *reason = "u8 has no negative values";
    return true;
  }
  const int32_t before = ProducerOf(i);
  if (before >= 0 && neighbours_i_[static_cast<size_t>(before)].relu == static_cast<int32_t>(i) &&
      WayOf(static_cast<size_t>(before), mode_i[static_cast<size_t>(before)]).relu) {
    *reason = "done by the layer before it";
    return true;
  }
  *reason = "done by the k-WTA after it";
  return ReluIsOfReaders(i);
}

bool Outline::ReluIsOfReaders(size_t i) const {
  if (!fuse_ || model_.layers[i].kind != LayerKind::kRelu) return false;
  const std::span<const int32_t> readers = graph_.readers(static_cast<int32_t>(i));
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](int32_t reader) {
    return KindOf(reader) == LayerKind::kKwta;
  });
}

void Outline::AddWanted(int32_t value, std::span<const Mode> mode_i, Wanted& wanted,
                        bool& first) const {
  if (value + 1 == static_cast<int32_t>(model_.layers.size())) wanted.map = true;
  for (const int32_t reader : graph_.readers(value)) {
    const auto r = static_cast<size_t>(reader);
    if (IsNothing(r)) {
      AddWanted(reader, mode_i, wanted, first);
      continue;
    }
    const Use& use = WayOf(r, mode_i[r]);
    if (!use.reads_winners) {
      wanted.map = true;
      continue;
    }
    wanted.list = true;
    wanted.begins |= use.begins;
    if (first) wanted.line_step = use.line_step;
    if (wanted.line_step != use.line_step) wanted.line_step = 0;
    first = false;
  }
}

Outline::Wanted Outline::WantedOf(size_t kwta, std::span<const Mode> mode_i) const {
  Wanted wanted;
  bool first = true;
  AddWanted(static_cast<int32_t>(kwta), mode_i, wanted, first);
  return wanted;
}

int32_t Outline::MakerOf(size_t i, std::span<const Mode> mode_i) const {
  int32_t maker = ProducerOf(i);
  while (maker >= 0 &&
         (KindOf(maker) == LayerKind::kRelu || KindOf(maker) == LayerKind::kMaxPool)) {
    maker = ProducerOf(static_cast<size_t>(maker));
  }
  if (maker < 0) return -1;
  const auto m = static_cast<size_t>(maker);
  const bool makes = neighbours_i_[m].kwta == static_cast<int32_t>(i) && WayOf(m, mode_i[m]).kwta;
  if (!makes) return -1;
  const Wanted wanted = WantedOf(i, mode_i);
  return wanted.list && !wanted.map ? maker : -1;
}

Use Outline::UseAt(size_t i, std::span<const Mode> mode_i) const {
  Use use = WayOf(i, mode_i[i]);
  const Layer& layer = model_.layers[i];
  const auto done = [&](const char* reason) {
    return Use{.active_inputs = layer.input.elements(), .reason = reason};
  };
  const char* reason = "";
  if (layer.kind == LayerKind::kMaxPool && PoolIsDone(i, mode_i, &reason)) return done(reason);
  if (layer.kind == LayerKind::kRelu && ReluIsDone(i, mode_i, &reason)) return done(reason);
  if (layer.kind == LayerKind::kKwta) {
    if (MakerOf(i, mode_i) >= 0) return done("done by the layer before it");
    const Wanted wanted = WantedOf(i, mode_i);
    use.writes_map = wanted.map || !wanted.list;
    use.begins = wanted.begins;
    const char* pool_reason = nullptr;
    const int32_t pool = neighbours_i_[i].pool;
    if (use.pools && PoolIsDone(static_cast<size_t>(pool), mode_i, &pool_reason)) {
      // By the convolution before it, not by this one.
      const int32_t before = ProducerOf(static_cast<size_t>(pool));
      if (before >= 0 && neighbours_i_[static_cast<size_t>(before)].pool == pool &&
          WayOf(static_cast<size_t>(before), mode_i[static_cast<size_t>(before)]).pools) {
        use.pools = false;
      }
    }
    return use;
  }
  if (use.kwta) {
    const auto kwta = static_cast<size_t>(neighbours_i_[i].kwta);
    use.kwta = MakerOf(kwta, mode_i) == static_cast<int32_t>(i);
    use.line_step = use.kwta ? WantedOf(kwta, mode_i).line_step : 0;
  } else if (use.reads_winners && use.line_step != 0) {
    const auto kwta = static_cast<size_t>(KwtaBefore(i));
    const bool lines = MakerOf(kwta, mode_i) >= 0 && WantedOf(kwta, mode_i).line_step != 0;
    if (!lines) use.line_step = 0;
  }
  return use;
}

std::vector<Use> Outline::Uses(std::span<const Mode> mode_i) const {
  std::vector<Use> use_i;
  use_i.reserve(model_.layers.size());
  for (size_t i = 0; i < model_.layers.size(); ++i) use_i.push_back(UseAt(i, mode_i));
  return use_i;
}

int32_t Outline::ValueOf(size_t i, std::span<const Mode> mode_i) const {
  // What a producer does too is the last of it; what a reader does first is not yet done in the value before.
  auto value = static_cast<int32_t>(i);
  while (value >= 0) {
    const auto v = static_cast<size_t>(value);
    const LayerKind kind = KindOf(value);
    const char* reason = "";
    const bool nothing = IsNothing(v) ||
                         (kind == LayerKind::kMaxPool && PoolIsDone(v, mode_i, &reason)) ||
                         (kind == LayerKind::kRelu && ReluIsDone(v, mode_i, &reason)) ||
                         (kind == LayerKind::kKwta && MakerOf(v, mode_i) >= 0);
    if (!nothing) return value;
    value = ProducerOf(v);
  }
  return value;
}

}  // namespace bisparse
