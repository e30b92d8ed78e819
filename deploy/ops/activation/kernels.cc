// SPDX-License-Identifier: Apache-2.0
// Entries of the activations: one in f32, one in int8. Read first: deploy/ops/kernel.h, op.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/activation/kernels.h"

#include "deploy/ops/activation/activation_f32.h"
#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/elementwise_u8.h"

namespace bisparse::ops {
namespace {

class F32Step : public StepOf<F32Step> {
 public:
  explicit F32Step(const packed::Layer& layer)
      : kind_(layer.kind), elements_(layer.output.elements()) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::ActivationF32(kind_, io.X<float>(), elements_, io.Y<float>());
  }

 private:
  packed::LayerKind kind_;
  int64_t elements_;
};

class ActivationF32 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  Work Count(const packed::Layer& layer, const Use& use, int32_t vector_bytes) const override {
    Work work = Elementwise::Count(layer, use, vector_bytes);
    work.units *= kernels::ActivationOperations(layer.kind);
    return work;
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<F32Step>(*node.layer);
  }
};

class TableStep : public StepOf<TableStep> {
 public:
  explicit TableStep(const packed::Layer& layer)
      : table_(layer.table.data()), elements_(layer.output.elements()) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::TableU8(io.X<uint8_t>(), elements_, table_, io.Y<uint8_t>());
  }

 private:
  const uint8_t* table_;  // of the model's storage
  int64_t elements_;
};

class TableU8 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  /// A load for each byte, on every machine.
  Work Count(const packed::Layer& layer, const Use&, int32_t) const override {
    return {.units = static_cast<double>(layer.output.elements())};
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<TableStep>(*node.layer);
  }
};

constexpr ActivationF32 kF32("activation_f32", 4);
constexpr TableU8 kU8("table_u8", 1);

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> ActivationKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> ActivationKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
