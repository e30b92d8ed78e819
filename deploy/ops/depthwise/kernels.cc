// SPDX-License-Identifier: Apache-2.0
// Entries of the depthwise convolution. With S = 1 a row of packed weights is a tap of all channels, whatever L. Read
// first: deploy/ops/kernel.h, depthwise_f32.h, depthwise_i8.h, depthwise_columns_i8.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/depthwise/kernels.h"

#include <cmath>
#include <utility>

#include "deploy/base/size.h"
#include "deploy/ops/depthwise/depthwise_columns_i8.h"
#include "deploy/ops/depthwise/depthwise_f32.h"
#include "deploy/ops/depthwise/depthwise_i8.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/dense_i8.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/simd/cpu.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

class Depthwise : public Kernel {
 public:
  using Kernel::Kernel;

  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = node.layer->input.elements(),
            .dense_weights = true,
            .reason = "depthwise weights are dense"};
  }
  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const double w = vector_bytes / 4.0;
    const double positions = static_cast<double>(PositionsOf(layer.output));
    const double vectors = Ceil(layer.input.channels, w);
    const double taps = double{1} * layer.window.kernel_h * layer.window.kernel_w;
    return {.units = positions * taps * vectors,
            .starts = positions * taps * (std::floor(vectors / 4) + std::fmod(vectors, 4)),
            .moved = positions * vectors,
            .lines = taps * vectors};
  }

 protected:
  ~Depthwise() = default;
};

class F32Step : public StepOf<F32Step> {
 public:
  F32Step(const Layer& layer, int64_t weight_stride, bool relu)
      : args_{.shape = PoolShapeOf(layer),
              .weight_pc = layer.weight_pnl.data(),
              .weight_stride = weight_stride,
              .bias_c = layer.bias_o.data(),
              .relu = relu} {
    parts = layer.output.height;
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    kernels::DepthwiseF32Args args = args_;
    args.x_yxc = io.X<float>();
    args.row_begin = begin;
    args.row_end = end;
    args.y_yxc = io.Y<float>();
    kernels::DepthwiseF32(args);
  }

 private:
  kernels::DepthwiseF32Args args_;
};

class DepthwiseF32 final : public Depthwise {
 public:
  using Depthwise::Depthwise;
  const char* Refuses(const Node&) const override { return nullptr; }
  Use UseOf(const Node& node) const override {
    Use use = Depthwise::UseOf(node);
    use.relu = node.relu;
    return use;
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    summary.weight_bytes = (layout.slots() + layout.outputs_padded()) * 4;
    return std::make_unique<F32Step>(*node.layer, layout.outputs_padded(), use.relu);
  }
};

class ColumnsStep : public StepOf<ColumnsStep> {
 public:
  explicit ColumnsStep(kernels::DepthwiseColumnsI8 conv) : conv_(std::move(conv)) {
    scratch_bytes = conv_.scratch_bytes();
  }
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::DepthwiseColumnsI8Run({.conv = &conv_,
                                    .x_yxc = io.X<uint8_t>(),
                                    .y_yxc = io.Y<uint8_t>(),
                                    .scratch = io.scratch});
  }

 private:
  kernels::DepthwiseColumnsI8 conv_;
};

class DepthwiseColumns final : public Depthwise {
 public:
  using Depthwise::Depthwise;
  const char* Refuses(const Node& node) const override {
    if (!kernels::IsAvx3Dl(node.isa)) return "needs AVX-512 with VNNI";
    if (node.layer->shift_o.empty()) return "gives logits";
    return kernels::FitsDepthwiseColumnsI8(PoolShapeOf(*node.layer)) ? nullptr
                                                                     : "rows have too many columns";
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const packed::Layout layout(layer.kernel(), layer.packing);
    const Ends ends(layer, layout.shape.outputs);
    summary.weight_bytes = layout.slots() + 4 * layout.outputs_padded();
    return std::make_unique<ColumnsStep>(*kernels::PrepareDepthwiseColumnsI8(
        PoolShapeOf(layer), static_cast<uint8_t>(node.input_zero()), layer.weight_i8_pnl.data(),
        layout.outputs_padded(), ends.bias_o.data(), ends.shift_o.data()));
  }
};

class RowsStep : public StepOf<RowsStep> {
 public:
  RowsStep(const Layer& layer, const packed::Layout& layout, int32_t zero)
      : layer_(&layer),
        shape_(PoolShapeOf(layer)),
        zero_(static_cast<uint8_t>(zero)),
        weight_stride_(layout.outputs_padded()),
        ends_(layer, layout.shape.outputs) {
    parts = layer.output.height;
    scratch_bytes = (Size(4) * layer.output.width * layer.output.channels).value();
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int slot) const noexcept override {
    const int64_t width = layer_->output.width;
    auto* acc = reinterpret_cast<int32_t*>(io.ScratchOf(slot));
    for (int64_t row = begin; row < end; ++row) {
      kernels::DepthwiseI8({.shape = shape_,
                            .x_yxc = io.X<uint8_t>(),
                            .zero = zero_,
                            .weight_pc = layer_->weight_i8_pnl.data(),
                            .weight_stride = weight_stride_,
                            .bias_c = ends_.bias_o.data(),
                            .row = row,
                            .acc = acc});
      FinishI8(*layer_, ends_, acc, layer_->output.channels, row * width, (row + 1) * width, io.y);
    }
  }

 private:
  const Layer* layer_;
  kernels::PoolShape shape_;
  uint8_t zero_;
  int64_t weight_stride_;
  Ends ends_;
};

class DepthwiseRows final : public Depthwise {
 public:
  using Depthwise::Depthwise;
  const char* Refuses(const Node&) const override { return nullptr; }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    summary.weight_bytes = layout.slots() + 4 * layout.outputs_padded();
    return std::make_unique<RowsStep>(*node.layer, layout, node.input_zero());
  }
};

constexpr DepthwiseF32 kF32("depthwise_f32");
constexpr DepthwiseColumns kColumns("depthwise_i8/columns");
constexpr DepthwiseRows kRows("depthwise_i8");

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kColumns, &kRows};

}  // namespace

std::span<const Kernel* const> DepthwiseKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> DepthwiseKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
