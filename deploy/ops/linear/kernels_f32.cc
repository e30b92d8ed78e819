// SPDX-License-Identifier: Apache-2.0
// Entries of the f32 linear layer. Read first: deploy/ops/kernel.h, linear_packed.h, linear_dense_f32.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/choose_test.cc.
#include <algorithm>
#include <numeric>
#include <utility>

#include "deploy/ops/linear/kernels.h"
#include "deploy/ops/linear/linear_dense_f32.h"
#include "deploy/ops/linear/linear_packed.h"
#include "deploy/ops/linear/linear_packed_prepare.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

/// Every entry: with packed weights or dense ones, of winners or of every input.
class LinearF32 : public Kernel {
 public:
  constexpr LinearF32(const char* name, bool packed, bool winners)
      : Kernel(name), packed_(packed), winners_(winners) {}

  const char* Refuses(const Node& node) const override {
    if (winners_ && node.winners == nullptr) return "the input is no k-WTA";
    if (packed_ && node.mode == Mode::kDense) return "mode dense";
    if (packed_ && node.layer->packing.set_size == 1) return "weights are dense";
    return nullptr;
  }

  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = winners_ ? WinnersOf(*node.winners) : node.layer->input.elements(),
            .dense_weights = node.mode == Mode::kDense || node.layer->packing.set_size == 1,
            .reads_winners = winners_,
            .relu = !packed_ && node.relu,
            .reason = ReasonOf(node, winners_, packed_)};
  }

 protected:
  ~LinearF32() = default;
  bool packed_, winners_;
};

class DenseStep : public StepOf<DenseStep> {
 public:
  DenseStep(const packed::Layout& layout, const Layer& layer, bool relu)
      : linear_{.inputs = layer.input.elements(), .outputs = layer.output.elements()},
        rows_(layout, layer),
        relu_(relu) {
    parts = linear_.outputs;
    grain = 16;
    batched = true;
  }

  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    const kernels::LinearDenseShape part{
        .inputs = linear_.inputs, .outputs = end - begin, .weight_pitch = linear_.pitch()};
    kernels::LinearDenseF32(part, io.X<float>(), io.samples, rows_.weight_po + begin,
                            rows_.bias_o + begin, relu_, io.Y<float>() + begin);
  }
  int64_t weight_bytes() const { return rows_.bytes; }

 private:
  kernels::LinearDenseShape linear_;
  DenseRows rows_;
  bool relu_;
};

class DenseWinnersStep : public StepOf<DenseWinnersStep> {
 public:
  DenseWinnersStep(const packed::Layout& layout, const Layer& layer, int64_t winners, bool relu)
      : linear_{.inputs = layer.input.elements(), .outputs = layer.output.elements()},
        rows_(layout, layer),
        winners_(winners),
        relu_(relu) {}

  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::LinearWinnersF32(linear_, io.in.index_k, static_cast<const float*>(io.in.value_k),
                              winners_, rows_.weight_po, rows_.bias_o, relu_, io.Y<float>());
  }
  int64_t weight_bytes() const { return rows_.bytes; }

 private:
  kernels::LinearDenseShape linear_;
  DenseRows rows_;
  int64_t winners_;
  bool relu_;
};

/// Dense weights: rows of outputs, of every input or of winners alone.
class LinearDense final : public LinearF32 {
 public:
  using LinearF32::LinearF32;

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, k = static_cast<double>(use.active_inputs);
    return {.units = k * z.o16 / w,
            .starts = z.o <= w ? k : Ceil(k, 8),
            .moved = z.o16 / w,
            .lines = k * z.o16 * 4 / kLineBytes};
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    if (!winners_) {
      auto step = std::make_unique<DenseStep>(layout, layer, use.relu);
      summary.weight_bytes = step->weight_bytes();
      return step;
    }
    auto step = std::make_unique<DenseWinnersStep>(layout, layer, use.active_inputs, use.relu);
    Tell({.macs_executed = use.active_inputs * summary.nonzeros / layer.input.elements(),
          .weight_bytes = step->weight_bytes(),
          .active_inputs = use.active_inputs},
         summary);
    return step;
  }
};

class PackedStep : public StepOf<PackedStep> {
 public:
  PackedStep(const packed::Layout& layout, const Layer& layer)
      : inputs_(layer.input.elements()),
        outputs_(layer.output.elements()),
        lanes_(layer.packing.lanes),
        lists_(kernels::PrepareLinearPackedDenseF32(layout, layer.owner_nr, layer.weight_pnl)),
        weight_(lists_.WeightBase(layer.weight_pnl.data())),
        bias_o_(layer.bias_o.data()) {
    parts = int64_t{layout.sets} * layer.packing.set_size;
    grain = 16 / std::gcd(lanes_, int64_t{16});
    batched = true;
  }

  /// Kernel blocks [begin, end).
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    const int64_t first = begin * lanes_, last = std::min(end * lanes_, outputs_);
    if (first >= last) return;  // kernels that pad the last set
    kernels::LinearPackedDenseF32({.inputs = static_cast<int32_t>(inputs_),
                                   .outputs = static_cast<int32_t>(last - first),
                                   .set_size = 1,
                                   .lanes = static_cast<int32_t>(lanes_),
                                   .sets = static_cast<int32_t>(end - begin),
                                   .weight = weight_,
                                   .bias_o = bias_o_ + first,
                                   .begin_b = lists_.begin_b.data() + begin,
                                   .input_e = lists_.input_e.data(),
                                   .weight_e = lists_.weight_e.data(),
                                   .batch = io.samples,
                                   .input = io.X<float>(),
                                   .input_stride = inputs_,
                                   .output = io.Y<float>() + first,
                                   .output_stride = outputs_});
  }
  const kernels::PackedLists& lists() const { return lists_; }

 private:
  int64_t inputs_, outputs_, lanes_;
  kernels::PackedLists lists_;
  const float* weight_;
  const float* bias_o_;
};

class PackedWinnersStep : public StepOf<PackedWinnersStep> {
 public:
  PackedWinnersStep(const packed::Layout& layout, const Layer& layer, int64_t winners)
      : lists_(kernels::PrepareLinearPackedWinnersF32(layout, layer.owner_nr)),
        args_{.inputs = static_cast<int32_t>(layer.input.elements()),
              .outputs = static_cast<int32_t>(layer.output.elements()),
              .set_size = layer.packing.set_size,
              .lanes = layer.packing.lanes,
              .sets = layout.sets,
              .weight_pnl = layer.weight_pnl.data(),
              .bias_o = layer.bias_o.data(),
              .owner_pn = lists_.owner_pn.data(),
              .winners = {.count = winners}} {
    parts = layout.sets;
    scratch_bytes = 4 * kernels::LinearPackedScratchFloats(layer.packing.set_size,
                                                           layer.packing.lanes, layout.sets);
  }

  /// Sets [begin, end).
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    kernels::LinearPackedWinnersF32Args args = args_;
    args.set_begin = static_cast<int32_t>(begin);
    args.set_end = static_cast<int32_t>(end);
    args.winners.index_k = io.in.index_k;
    args.winners.value_k = static_cast<const float*>(io.in.value_k);
    args.output = io.Y<float>();
    args.scratch = reinterpret_cast<float*>(io.scratch);
    kernels::LinearPackedWinnersF32(args);
  }
  const kernels::PackedLists& lists() const { return lists_; }

 private:
  kernels::PackedLists lists_;
  kernels::LinearPackedWinnersF32Args args_;
};

class LinearPacked final : public LinearF32 {
 public:
  using LinearF32::LinearF32;

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, vectors = z.RowVectors(w);
    const double k = static_cast<double>(use.active_inputs);
    const double lines = k * z.sets * z.layout.packing.lanes * 4 / kLineBytes;
    if (winners_) {
      return {.units = k * z.sets * vectors,
              .starts = k,
              .moved = 2 * z.sets * z.s * z.layout.packing.lanes / w,
              .lines = lines * 1.1};
    }
    return {
        .units = z.p * z.sets * vectors, .starts = z.sets * z.s * vectors, .lines = lines * 1.5};
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    Held held{.macs_executed = summary.nonzeros,
              .weight_bytes = (layout.slots() + layout.outputs_padded()) * 4,
              .active_inputs = use.active_inputs};
    if (winners_) {
      auto step = std::make_unique<PackedWinnersStep>(layout, layer, use.active_inputs);
      held.macs_executed = use.active_inputs * summary.nonzeros / layer.input.elements();
      held.weight_bytes += step->lists().bytes();
      Tell(held, summary);
      return step;
    }
    auto step = std::make_unique<PackedStep>(layout, layer);
    held.weight_bytes += step->lists().bytes();
    Tell(held, summary);
    return step;
  }
};

constexpr LinearPacked kPackedWinners("linear_packed_f32/winners", true, true);
constexpr LinearDense kDenseWinners("linear_dense_f32/winners", false, true);
constexpr LinearPacked kPacked("linear_packed_f32/dense", true, false);
constexpr LinearDense kDense("linear_dense_f32", false, false);

constexpr const Kernel* kKernels[] = {&kPackedWinners, &kDenseWinners, &kPacked, &kDense};

}  // namespace

std::span<const Kernel* const> LinearKernelsF32() { return kKernels; }

}  // namespace bisparse::ops
