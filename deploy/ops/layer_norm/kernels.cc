// SPDX-License-Identifier: Apache-2.0
// Entries of layer_norm. Threads share positions. Read first: deploy/ops/kernel.h, layer_norm.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/layer_norm/kernels.h"

#include <algorithm>

#include "deploy/ops/layer_norm/layer_norm.h"
#include "deploy/ops/layer_norm/op.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

/// T: float, or uint8_t for the steps of int8.
template <class T>
class NormStep : public StepOf<NormStep<T>> {
 public:
  explicit NormStep(const Node& node)
      : args_{.channels = node.layer->input.channels,
              .gain_c = node.layer->weight_pnl.data(),
              .bias_c = node.layer->bias_o.data(),
              .epsilon = double{node.layer->epsilon}} {
    this->parts = PositionsOf(node.layer->input);
    if constexpr (kBytes) {
      args_.epsilon = packed::EpsilonInSteps(*node.layer, node.inputs[0].scale);
      args_.steps_of_one = 1.0 / double{node.layer->output_scale};
      args_.zero = node.layer->output_zero;
    }
  }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int) const noexcept override {
    const T* const x = io.X<T>() + begin * args_.channels;
    T* const y = io.Y<T>() + begin * args_.channels;
    if constexpr (kBytes) {
      kernels::LayerNormU8(args_, x, end - begin, y);
    } else {
      kernels::LayerNormF32(args_, x, end - begin, y);
    }
  }

 private:
  static constexpr bool kBytes = sizeof(T) == 1;
  kernels::LayerNormArgs args_;
};

template <class T>
class LayerNorm final : public Kernel {
 public:
  constexpr LayerNorm(const char* name, const char* reason) : Kernel(name), reason_(reason) {}

  const char* Refuses(const Node&) const override { return nullptr; }
  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = node.layer->input.elements(),
            .dense_weights = true,
            .reason = reason_};
  }
  /// A unit is a vector of doubles, or a channel past the last one.
  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const auto positions = static_cast<double>(PositionsOf(layer.input));
    const int32_t lanes = std::max(1, vector_bytes / 8);
    const double vectors = layer.input.channels / lanes + layer.input.channels % lanes;
    return {.units = positions * vectors, .starts = positions};
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    TellChannels(*node.layer, summary);
    return std::make_unique<NormStep<T>>(node);
  }

 private:
  const char* reason_;
};

constexpr LayerNorm<float> kF32("layer_norm_f32", "");
constexpr LayerNorm<uint8_t> kU8(
    "layer_norm_u8", "computed in floating point: int8 has no exact mean and deviation");

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> LayerNormKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> LayerNormKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
