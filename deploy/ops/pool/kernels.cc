// SPDX-License-Identifier: Apache-2.0
// Entries of the pools. Read first: deploy/ops/kernel.h, pool_f32.h, pool_u8.h. Tested in: deploy/engine/engine_test.cc,
// deploy/engine/engine_i8_test.cc.
#include "deploy/ops/pool/kernels.h"

#include <cmath>

#include "deploy/ops/pool/pool_f32.h"
#include "deploy/ops/pool/pool_u8.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {
namespace {

using packed::Layer;
using packed::LayerKind;

class F32Step : public StepOf<F32Step> {
 public:
  F32Step(const Layer& layer, bool max) : shape_(PoolShapeOf(layer)), max_(max) {
    parts = shape_.out_h();
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    max_ ? kernels::MaxPoolF32(shape_, io.X<float>(), begin, end, io.Y<float>())
         : kernels::AvgPoolF32(shape_, io.X<float>(), begin, end, io.Y<float>());
  }

 private:
  kernels::PoolShape shape_;
  bool max_;
};

/// Scales and zeros pass through.
class I8Step : public StepOf<I8Step> {
 public:
  I8Step(const Layer& layer, bool max) : shape_(PoolShapeOf(layer)), max_(max) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    max_ ? kernels::MaxPoolU8(shape_, io.X<uint8_t>(), io.Y<uint8_t>())
         : kernels::AvgPoolU8(shape_, io.X<uint8_t>(), io.Y<uint8_t>());
  }

 private:
  kernels::PoolShape shape_;
  bool max_;
};

class Pool final : public Kernel {
 public:
  /// `vector`: cost of a whole vector of channels, where the channels past the last one cost 1 each.
  constexpr Pool(const char* name, bool f32, bool max, double vector)
      : Kernel(name), f32_(f32), max_(max), vector_(vector) {}

  const char* Refuses(const Node& node) const override {
    return (node.layer->kind == LayerKind::kMaxPool) == max_ ? nullptr : "the other kind of pool";
  }
  Use UseOf(const Node& node) const override {
    return {.kernel = this, .active_inputs = node.layer->input.elements(), .dense_weights = true};
  }
  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const double w = vector_bytes / (f32_ ? 4.0 : 1.0);
    const double positions = static_cast<double>(PositionsOf(layer.output));
    const double taps = double{1} * layer.window.kernel_h * layer.window.kernel_w;
    const double vectors = std::floor(layer.input.channels / w);
    return {.units = positions * taps * (vectors * vector_ + std::fmod(layer.input.channels, w)),
            .starts = positions,
            .moved = positions * vectors};
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    if (f32_) return std::make_unique<F32Step>(*node.layer, max_);
    return std::make_unique<I8Step>(*node.layer, max_);
  }

 private:
  bool f32_, max_;
  double vector_;
};

constexpr Pool kMaxF32("max_pool_f32", true, true, 1), kAvgF32("avg_pool_f32", true, false, 1);
constexpr Pool kMaxU8("max_pool_u8", false, true, 1), kAvgU8("avg_pool_u8", false, false, 2.5);

constexpr const Kernel* kKernelsF32[] = {&kMaxF32, &kAvgF32};
constexpr const Kernel* kKernelsI8[] = {&kMaxU8, &kAvgU8};

}  // namespace

std::span<const Kernel* const> PoolKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> PoolKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
