// SPDX-License-Identifier: Apache-2.0
// The entry of affine. Read first: deploy/ops/kernel.h. Tested in: deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/affine/kernels.h"

#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/elementwise_f32.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

class AffineStep : public StepOf<AffineStep> {
 public:
  explicit AffineStep(const Layer& layer) : layer_(&layer) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::AffineF32(io.X<float>(), PositionsOf(layer_->input), layer_->input.channels,
                       layer_->weight_pnl.data(), layer_->bias_o.data(), io.Y<float>());
  }

 private:
  const Layer* layer_;
};

/// int8 models have one on the input alone, which is done where the features become bytes: no step of its own.
class Affine final : public Elementwise {
 public:
  using Elementwise::Elementwise;

  Use UseOf(const Node& node) const override {
    Use use = Elementwise::UseOf(node);
    if (node.format == packed::NumberFormat::kI8) use.reason = "done where the input becomes bytes";
    return use;
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    TellChannels(*node.layer, summary);
    if (node.format == packed::NumberFormat::kI8) return nullptr;
    return std::make_unique<AffineStep>(*node.layer);
  }
};

constexpr Affine kAffine("affine_f32", 4);

constexpr const Kernel* kKernelsF32[] = {&kAffine};
constexpr const Kernel* kKernelsI8[] = {&kAffine};

}  // namespace

std::span<const Kernel* const> AffineKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> AffineKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
