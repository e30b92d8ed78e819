// SPDX-License-Identifier: Apache-2.0
// Entries of the int8 linear layer. Read first: deploy/ops/kernel.h, linear_winners_i8.h,
// deploy/ops/shared/matmul_i8.h. Tested in: deploy/engine/engine_i8_test.cc, deploy/engine/choose_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "deploy/base/size.h"
#include "deploy/ops/linear/kernels.h"
#include "deploy/ops/linear/linear_winners_i8.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/dense_i8.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/simd/cpu.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

/// Each input's row of weights, packed or (S = 1) of all outputs, is added to the sums.
class RowsStep : public StepOf<RowsStep> {
 public:
  RowsStep(const packed::Layout& layout, const Layer& layer, bool winners, int64_t count)
      : layer_(&layer), winners_(winners), count_(count) {
    if (layer.packing.set_size > 1) {
      lanes_ = layout.packing.lanes;
      sets_ = layout.sets;
      outputs_ = layout.outputs_padded();
      owner_pn_.reserve(static_cast<size_t>(layout.positions * layout.sets));
      for (int64_t p = 0; p < layout.positions; ++p) {
        const int64_t run = layout.RunOf(p);
        for (int32_t n = 0; n < layout.sets; ++n) {
          owner_pn_.push_back(static_cast<uint16_t>(n * layer.packing.set_size +
                                                    layout.OwnerOfRun(layer.owner_nr, n, run)));
        }
      }
    } else {  // whole registers, whatever L
      outputs_ = Size(layout.shape.outputs).RoundUp(16).value();
      lanes_ = static_cast<int32_t>(outputs_);
      weight_ = AlignedBuffer<int8_t>(static_cast<size_t>(layout.positions * outputs_));
      layout.ForEachSlot(layer.owner_nr, [&](int64_t p, int32_t, int32_t, int64_t o, int64_t slot) {
        weight_.data()[p * outputs_ + o] = layer.weight_i8_pnl[static_cast<size_t>(slot)];
      });
    }
    ends_ = Ends(layer, outputs_);
    scratch_bytes = 4 * Size(outputs_).RoundUp(16).value();
  }

  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    auto* acc = reinterpret_cast<int32_t*>(io.scratch);
    const bool packed = !owner_pn_.empty();
    kernels::LinearWinnersI8(
        {.set_size = packed ? layer_->packing.set_size : 1,
         .lanes = lanes_,
         .sets = sets_,
         .weight_pnl = packed ? layer_->weight_i8_pnl.data() : weight_.data(),
         .bias_o = ends_.bias_o.data(),
         .owner_pn = packed ? owner_pn_.data() : nullptr,
         .index_k = winners_ ? io.in.index_k : nullptr,
         .value_k = winners_ ? static_cast<const uint8_t*>(io.in.value_k) : io.X<uint8_t>(),
         .count = count_,
         .acc = acc});
    FinishI8(*layer_, ends_, acc, outputs_, 0, 1, io.y);
  }
  int64_t weight_bytes() const {
    return static_cast<int64_t>(layer_->weight_i8_pnl.size() + 2 * owner_pn_.size());
  }

 private:
  const Layer* layer_;
  bool winners_;
  int64_t count_, outputs_ = 0;
  int32_t lanes_ = 1, sets_ = 1;
  AlignedBuffer<int8_t> weight_;
  std::vector<uint16_t> owner_pn_;  ///< linear_winners_i8.h
  Ends ends_;
};

class LinearRows final : public Kernel {
 public:
  constexpr LinearRows(const char* name, bool winners) : Kernel(name), winners_(winners) {}

  const char* Refuses(const Node& node) const override {
    if (winners_) return node.winners == nullptr ? "the input is no k-WTA" : TooManyBlocks(node);
    if (node.mode == Mode::kDense) return "mode dense";
    if (node.layer->packing.set_size == 1) return "weights are dense";
    return TooManyBlocks(node);
  }

  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = winners_ ? WinnersOf(*node.winners) : node.layer->input.elements(),
            .dense_weights = node.layer->packing.set_size == 1,
            .reads_winners = winners_,
            .reason = ReasonOf(node, winners_, true)};
  }

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, k = static_cast<double>(use.active_inputs);
    const double lanes = z.layout.packing.lanes;
    const bool sparse = z.s > 1;
    const double row = !sparse                           ? z.o16 / w
                       : z.layout.packing.lanes % 4 == 0 ? z.sets * z.RowVectors(w)
                                                         : z.sets * lanes;
    const double bytes = sparse ? z.sets * (lanes + 2) : z.o16;
    return {.units = k * row,
            .starts = k,
            .moved = 2 * (sparse ? z.sets * z.s * lanes : z.o16) / w,
            .lines = k * Ceil(bytes, kLineBytes)};
  }
  const char* CostRow(const Layer& layer, const Use&) const override {
    if (layer.packing.set_size == 1) return "linear_i8 (S = 1)";
    if (layer.packing.lanes % 4 != 0) return "linear_i8 (odd L)";
    const packed::Layout layout(layer.kernel(), layer.packing);
    return layer.packing.lanes == 16 && layout.sets % 4 == 0 ? "linear_i8 (four sets)"
                                                             : "linear_i8";
  }
  std::vector<const char*> CostRows() const override {
    return {"linear_i8 (S = 1)", "linear_i8 (odd L)", "linear_i8 (four sets)", "linear_i8"};
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    auto step = std::make_unique<RowsStep>(layout, *node.layer, winners_, use.active_inputs);
    Tell({.macs_executed = use.active_inputs * summary.nonzeros / layout.positions,
          .weight_bytes = step->weight_bytes(),
          .active_inputs = use.active_inputs},
         summary);
    return step;
  }

 private:
  static const char* TooManyBlocks(const Node& node) {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    return layout.packing.set_size > 1 && layout.blocks > 65536 ? "more owners than 16 bits hold"
                                                                : nullptr;
  }
  bool winners_;
};

class MatMulStep : public StepOf<MatMulStep> {
 public:
  MatMulStep(const packed::Layout& layout, const Layer& layer)
      : inputs_(layer.input.elements()), dense_(layout, layer) {
    parts = dense_.outputs;
    grain = 64;
    batched = true;
    acc_at_ = (Size(kSamples) * dense_.depth).RoundUp(64).value();
    scratch_bytes = acc_at_ + 4 * kSamples * dense_.outputs;
  }

  void Begin(const StepIo& io) const noexcept override {
    for (int64_t b = 0; b < io.samples; ++b) {
      uint8_t* row = io.scratch + b * dense_.depth;
      std::memcpy(row, io.X<uint8_t>() + b * inputs_, static_cast<size_t>(inputs_));
      std::fill(row + inputs_, row + dense_.depth, uint8_t{0});
    }
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    dense_.Multiply({.rows = io.samples,
                     .x = io.scratch,
                     .x_stride = dense_.depth,
                     .acc = Acc(io),
                     .output_begin = begin,
                     .output_end = end});
  }
  void End(const StepIo& io) const noexcept override {
    dense_.Finish(Acc(io), 0, io.samples, io.y);
  }
  int64_t weight_bytes() const { return dense_.bytes(); }

 private:
  static constexpr int64_t kSamples = kMostSamples;
  int32_t* Acc(const StepIo& io) const { return reinterpret_cast<int32_t*>(io.scratch + acc_at_); }
  int64_t inputs_, acc_at_ = 0;
  DenseI8 dense_;
};

class LinearMatMul final : public Kernel {
 public:
  using Kernel::Kernel;

  const char* Refuses(const Node&) const override { return nullptr; }

  Use UseOf(const Node& node) const override {
    const bool dense = node.layer->packing.set_size == 1;
    return {.kernel = this,
            .active_inputs = node.layer->input.elements(),
            .dense_weights = node.mode == Mode::kDense || dense,
            .reason = node.mode != Mode::kDense && dense ? "weights are dense"
                                                         : ReasonOf(node, false, false)};
  }

  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, depth = Ceil(z.p, 4) * 4;
    return {.units = depth / 4 * z.o16 / w,
            .starts = Ceil(z.o16, 4 * w),
            .moved = z.o16 / w + depth / (4 * w),
            .lines = depth * z.o16 / kLineBytes};
  }
  double UnitFactor(std::string_view isa, const char*) const override {
    return kernels::IsAvx3Dl(isa) ? 1 : 1.2;  // AVX2: Zen 3
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    auto step = std::make_unique<MatMulStep>(layout, *node.layer);
    summary.weight_bytes = step->weight_bytes();
    return step;
  }
};

constexpr LinearRows kWinners("linear_i8/winners", true);
constexpr LinearRows kRows("linear_i8/dense", false);
constexpr LinearMatMul kMatMul("matmul_i8/linear");

constexpr const Kernel* kKernels[] = {&kWinners, &kRows, &kMatMul};

}  // namespace

std::span<const Kernel* const> LinearKernelsI8() { return kKernels; }

}  // namespace bisparse::ops
