// SPDX-License-Identifier: Apache-2.0
// Entries of the f32 convolution. Read first: deploy/ops/kernel.h, conv_packed.h, conv_dense_f32.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/choose_test.cc.
// Past 400 lines: the entries of one operator share their helpers.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "deploy/ops/conv/conv_dense_f32.h"
#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/conv/kernels.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {
namespace {

using kernels::ConvPackedForm;
using packed::Layer;

/// The entry that a convolution would have, were its owners aligned with the winners.
const Kernel* AlignedEntry(bool rows);

struct ConvF32 : Kernel {
  using Kernel::Kernel;

  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = node.layer->input.elements(),
            .dense_weights = node.mode == Mode::kDense || node.layer->packing.set_size == 1};
  }

  const Kernel* Aligned(const Layer& layer, Layer* other) const override {
    *other = layer;
    if (layer.packing.lanes % 4 != 0) other->packing.lanes = packed::kMaxLanes;
    const packed::Window& w = layer.window;
    const bool rows = w.stride_w == 1 && w.dilation_w == 1 && (w.kernel_w == 3 || w.kernel_w == 5);
    return AlignedEntry(rows);
  }

 protected:
  ~ConvF32() = default;
};

kernels::WinnersPattern PatternOf(const Layer& kwta) {
  const int32_t per_position = WinnersAtPosition(kwta);
  return {.per_position = per_position, .groups = per_position == 0 ? 1 : kwta.kwta.groups};
}

class PackedStep : public StepOf<PackedStep> {
 public:
  PackedStep(kernels::PreparedConv prepared, const Shape& output)
      : prepared_(std::move(prepared)), channels_(output.channels) {
    parts = output.height;
    scratch_bytes = 4 * kernels::ConvPackedScratchFloats(prepared_.plan);
  }

  void RunPart(const StepIo& io, int64_t begin, int64_t end, int slot) const noexcept override {
    const auto row_begin = static_cast<int32_t>(begin), row_end = static_cast<int32_t>(end);
    auto* scratch = reinterpret_cast<float*>(io.ScratchOf(slot));
    const ConvPackedForm form = prepared_.plan.form;
    if (winners_) {
      kernels::WinnersF32 winners = *winners_;
      winners.index_k = io.in.index_k;
      winners.value_k = static_cast<const float*>(io.in.value_k);
      winners.begin_p = winners.per_position == 0 ? io.in.begin_p : nullptr;
      return kernels::ConvPackedWinnersF32({.plan = prepared_.plan,
                                            .winners = winners,
                                            .output = io.Y<float>(),
                                            .output_stride = channels_,
                                            .row_begin = row_begin,
                                            .row_end = row_end,
                                            .scratch = scratch});
    }
    const kernels::ConvPackedDenseF32Args args{.plan = prepared_.plan,
                                               .input = io.X<float>(),
                                               .output = io.Y<float>(),
                                               .output_stride = channels_,
                                               .row_begin = row_begin,
                                               .row_end = row_end,
                                               .scratch = scratch};
    if (kwta_groups_ > 0) {
      return kernels::ConvPackedPooledWinnersF32(args,
                                                 {.groups = kwta_groups_,
                                                  .index_k = io.out.index_k,
                                                  .value_k = static_cast<float*>(io.out.value_k)});
    }
    if (form == ConvPackedForm::kPooledLanes) return kernels::ConvPackedPooledLanesF32(args);
    if (form == ConvPackedForm::kPooledColumns) return kernels::ConvPackedPooledF32(args);
    kernels::ConvPackedDenseF32(args);
  }

  void ReadWinners(const Layer& kwta) {
    winners_ =
        kernels::WinnersF32{.count = WinnersOf(kwta), .per_position = WinnersAtPosition(kwta)};
  }
  /// The k-WTA after the pool is done here: only its list is written.
  void MakeWinners(const Layer& kwta) {
    kwta_groups_ = kwta.kwta.groups;
    winner_count = WinnersOf(kwta);
    divisible = false;  // whole vectors are stored past a row's last winner
  }

 private:
  kernels::PreparedConv prepared_;
  int64_t channels_;
  std::optional<kernels::WinnersF32> winners_;  ///< without pointers
  int32_t kwta_groups_ = 0;
};

void TellPacked(const kernels::PreparedConv& prepared, const packed::Layout& layout, const Use& use,
                LayerSummary& summary) {
  Tell({.macs_executed = prepared.macs_per_map,
        .weight_bytes = (layout.slots() + layout.outputs_padded()) * 4 + prepared.lists.bytes(),
        .active_inputs = use.active_inputs},
       summary);
}

/// Winners only; owners aligned with them, or not.
class ConvWinnersF32 final : public ConvF32 {
 public:
  constexpr ConvWinnersF32(const char* name, ConvPackedForm form) : ConvF32(name), form_(form) {}

  const char* Refuses(const Node& node) const override {
    if (node.winners == nullptr) return "the input is no k-WTA";
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    const ConvPackedForm form = kernels::ConvPackedWinnersForm(
        layout, node.layer->window, PatternOf(*node.winners), node.layer->owner_nr);
    return form == form_ ? nullptr : "owners and winners have another form";
  }

  Use UseOf(const Node& node) const override {
    Use use = ConvF32::UseOf(node);
    use.active_inputs = WinnersOf(*node.winners);
    use.reads_winners = true;
    use.begins = WinnersAtPosition(*node.winners) == 0;
    use.reason = ReasonOf(node, true, true);
    return use;
  }

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const Tiles tiles(layer.output.width);
    const double w = vector_bytes / 4.0, vectors = z.RowVectors(w), rows = layer.output.height;
    const double out_vectors = z.positions * z.o / w;
    const double slots = static_cast<double>(use.active_inputs) / z.in_positions;
    if (form_ == ConvPackedForm::kScattered) {
      return {.units = z.positions * z.taps * slots * z.sets * vectors,
              .starts = z.positions * z.taps * slots,
              .moved = z.positions * z.sets * z.s * z.layout.packing.lanes / w + out_vectors,
              .lines = z.packed_lines()};
    }
    Work work{.starts = z.sets * z.s * vectors * rows * tiles.count,
              .moved = z.padded_positions * Ceil(slots, 8) + out_vectors,
              .lines = z.packed_lines()};
    if (form_ == ConvPackedForm::kAlignedRows) {
      const double kw = z.window.kernel_w;
      const double entry = tiles.width * kw + (tiles.width + kw - 1) * 2;
      work.units = z.sets * z.window.kernel_h * slots * vectors * rows * tiles.count * entry;
    } else {
      work.units = z.sets * z.taps * slots * vectors * rows * tiles.count * tiles.width * 2;
    }
    return work;
  }

  const Kernel* Aligned(const Layer& layer, Layer* other) const override {
    return form_ == ConvPackedForm::kScattered ? ConvF32::Aligned(layer, other) : nullptr;
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    kernels::PreparedConv prepared = kernels::PrepareConvPackedWinnersF32(
        layout, layer.window, layer.input, layer.output, PatternOf(*node.winners), layer.owner_nr,
        layer.weight_pnl, layer.bias_o);
    TellPacked(prepared, layout, use, summary);
    auto step = std::make_unique<PackedStep>(std::move(prepared), layer.output);
    step->ReadWinners(*node.winners);
    return step;
  }

 private:
  ConvPackedForm form_;
};

/// Every activation, packed weights, the max-pool after it and perhaps the k-WTA after that.
class ConvPooledF32 final : public ConvF32 {
 public:
  constexpr ConvPooledF32(const char* name, ConvPackedForm form) : ConvF32(name), form_(form) {}

  const char* Refuses(const Node& node) const override {
    if (node.mode == Mode::kDense) return "mode dense";
    if (node.layer->packing.set_size == 1) return "weights are dense";
    if (node.pool == nullptr) return "no 2x2 max-pool alone reads the output";
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    const std::optional<ConvPackedForm> form = kernels::ConvPackedPooledForm(
        layout, node.layer->window, node.layer->input, node.layer->output);
    return form == form_ ? nullptr
                         : "L, the dilation or the size of the shifted rows is another form's";
  }

  Use UseOf(const Node& node) const override {
    Use use = ConvF32::UseOf(node);
    use.pools = true;
    kernels::ConvPackedPlanF32 plan;
    plan.form = form_;
    use.kwta = node.kwta != nullptr && kernels::CanPoolWinnersF32(plan, KwtaSizesOf(*node.kwta));
    use.reason = ReasonOf(node, false, true);
    return use;
  }

  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, vectors = z.RowVectors(w), rows = layer.output.height;
    const double in_vectors = z.padded_positions * layer.input.channels / w;
    const double out_vectors = z.positions * z.o / w;
    if (form_ == ConvPackedForm::kPooledColumns) {
      const double passes = std::floor(rows / 2) * Ceil(std::floor(layer.output.width / 2.0), w);
      return {.units = z.o * Ceil(z.p, z.s) * passes * 4,
              .starts = z.o * passes,
              .moved = in_vectors * (z.window.kernel_w + z.window.stride_w) / 2 + out_vectors / 4,
              .lines = z.packed_lines() * 2};
    }
    const double width = w < 16 ? 3 : 7, pooled = std::floor(layer.output.width / 2.0);
    const double runs = std::floor(pooled / width) + std::fmod(pooled, width) / 2;
    return {.units = z.sets * z.p * vectors * std::floor(rows / 2) * (pooled * 4 + runs),
            .starts = z.sets * z.s * vectors * std::floor(rows / 2) * runs,
            .moved = out_vectors / 4 + in_vectors,
            .lines = z.packed_lines() * 1.5};
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    kernels::PreparedConv prepared =
        *kernels::PrepareConvPackedPooledF32(layout, layer.window, layer.input, layer.output,
                                             layer.owner_nr, layer.weight_pnl, layer.bias_o);
    TellPacked(prepared, layout, use, summary);
    auto step = std::make_unique<PackedStep>(std::move(prepared), node.pool->output);
    if (use.kwta) step->MakeWinners(*node.kwta);
    return step;
  }

 private:
  ConvPackedForm form_;
};

/// Every activation, packed weights.
class ConvPackedF32 final : public ConvF32 {
 public:
  constexpr ConvPackedF32(const char* name, ConvPackedForm form) : ConvF32(name), form_(form) {}

  const char* Refuses(const Node& node) const override {
    if (node.mode == Mode::kDense) return "mode dense";
    if (node.layer->packing.set_size == 1) return "weights are dense";
    const bool lanes = form_ == ConvPackedForm::kLanes;
    if (lanes != (node.layer->packing.lanes > 1)) return lanes ? "L = 1" : "L > 1";
    return nullptr;
  }

  Use UseOf(const Node& node) const override {
    Use use = ConvF32::UseOf(node);
    use.reason = ReasonOf(node, false, true);
    return use;
  }

  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const Tiles tiles(layer.output.width);
    const double w = vector_bytes / 4.0, vectors = z.RowVectors(w), rows = layer.output.height;
    const double in_vectors = z.padded_positions * layer.input.channels / w;
    const double out_vectors = z.positions * z.o / w;
    if (form_ == ConvPackedForm::kLanes) {
      return {.units = z.sets * z.p * vectors * rows * tiles.count * (tiles.width + 1),
              .starts = z.sets * z.s * vectors * rows * tiles.count,
              .moved = out_vectors + in_vectors,
              .lines = z.packed_lines() * 1.5};
    }
    const double plane_w = Ceil(layer.input.width + 2.0 * z.window.pad_w, z.window.stride_w);
    const double size = (layer.input.channels <= 8 ? 8 : 4) * w;
    const double passes = Ceil((rows - 1) * plane_w + layer.output.width, size);
    return {.units = z.sets * z.p * passes * size / w,
            .starts = z.o * passes,
            .moved = in_vectors * w + out_vectors * w / 4,
            .lines = z.packed_lines() * 3};
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    kernels::PreparedConv prepared =
        kernels::PrepareConvPackedDenseF32(layout, layer.window, layer.input, layer.output,
                                           layer.owner_nr, layer.weight_pnl, layer.bias_o);
    TellPacked(prepared, layout, use, summary);
    return std::make_unique<PackedStep>(std::move(prepared), layer.output);
  }

 private:
  ConvPackedForm form_;
};

class DenseStep : public StepOf<DenseStep> {
 public:
  DenseStep(const packed::Layout& layout, const Layer& layer, bool relu)
      : conv_{.in_h = layer.input.height,
              .in_w = layer.input.width,
              .channels = layer.input.channels,
              .kernel_h = layer.window.kernel_h,
              .kernel_w = layer.window.kernel_w,
              .stride_h = layer.window.stride_h,
              .stride_w = layer.window.stride_w,
              .pad_h = layer.window.pad_h,
              .pad_w = layer.window.pad_w,
              .dilation_h = layer.window.dilation_h,
              .dilation_w = layer.window.dilation_w,
              .outputs = layer.output.channels},
        offset_p_(static_cast<size_t>(conv_.positions())),
        rows_(layout, layer),
        relu_(relu) {
    kernels::ConvDenseOffsets(conv_, offset_p_.data());
    parts = conv_.out_positions();
    grain = 6;
    if (conv_.pad_h > 0 || conv_.pad_w > 0) scratch_bytes = 4 * conv_.padded_elements();
  }

  void Begin(const StepIo& io) const noexcept override {
    if (scratch_bytes == 0) return;
    kernels::PadMap(io.X<float>(), conv_.in_h, conv_.in_w, conv_.channels, conv_.pad_h, conv_.pad_w,
                    reinterpret_cast<float*>(io.scratch));
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    const float* padded =
        scratch_bytes > 0 ? reinterpret_cast<const float*>(io.scratch) : io.X<float>();
    kernels::ConvDenseF32(conv_, padded, offset_p_.data(), rows_.weight_po, rows_.bias_o, relu_,
                          begin, end, io.Y<float>());
  }
  int64_t weight_bytes() const { return rows_.bytes; }

 private:
  kernels::ConvDenseShape conv_;
  std::vector<int32_t> offset_p_;
  DenseRows rows_;
  bool relu_;
};

class ConvDenseF32 final : public ConvF32 {
 public:
  using ConvF32::ConvF32;

  const char* Refuses(const Node&) const override { return nullptr; }

  Use UseOf(const Node& node) const override {
    Use use = ConvF32::UseOf(node);
    use.relu = node.relu;
    use.reason = ReasonOf(node, false, false);
    return use;
  }

  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0;
    return {.units = z.positions * z.p * z.o16 / w,
            .starts = Ceil(z.positions, 6) * Ceil(z.o16, 4 * w) * Ceil(z.p, 64),
            .moved = z.positions * z.o / w + z.padded_positions * layer.input.channels / w,
            .lines = z.p * z.o16 * 4 / kLineBytes};
  }
  double WeightPasses(const Layer& layer) const override {
    return Ceil(static_cast<double>(PositionsOf(layer.output)), 96);
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    auto step = std::make_unique<DenseStep>(layout, *node.layer, use.relu);
    summary.weight_bytes = step->weight_bytes();
    return step;
  }
};

constexpr ConvWinnersF32 kAlignedRows("conv_packed_f32/aligned_rows", ConvPackedForm::kAlignedRows);
constexpr ConvWinnersF32 kAlignedTaps("conv_packed_f32/aligned_taps", ConvPackedForm::kAlignedTaps);
constexpr ConvWinnersF32 kScattered("conv_packed_f32/scattered", ConvPackedForm::kScattered);
constexpr ConvPooledF32 kPooledColumns("conv_packed_f32/pooled_columns",
                                       ConvPackedForm::kPooledColumns);
constexpr ConvPooledF32 kPooledLanes("conv_packed_f32/pooled_lanes", ConvPackedForm::kPooledLanes);
constexpr ConvPackedF32 kLanes("conv_packed_f32/lanes", ConvPackedForm::kLanes);
constexpr ConvPackedF32 kColumns("conv_packed_f32/columns", ConvPackedForm::kColumns);
constexpr ConvDenseF32 kDense("conv_dense_f32");

const Kernel* AlignedEntry(bool rows) { return rows ? &kAlignedRows : &kAlignedTaps; }

constexpr const Kernel* kKernels[] = {&kAlignedRows, &kAlignedTaps, &kScattered, &kPooledColumns,
                                      &kPooledLanes, &kLanes,       &kColumns,   &kDense};

}  // namespace

std::span<const Kernel* const> ConvKernelsF32() { return kKernels; }

}  // namespace bisparse::ops
