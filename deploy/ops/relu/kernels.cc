// SPDX-License-Identifier: Apache-2.0
// Entries of relu. Read first: deploy/ops/kernel.h. Tested in: deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/relu/kernels.h"

#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/elementwise_f32.h"
#include "deploy/ops/shared/elementwise_u8.h"

namespace bisparse::ops {
namespace {

class ReluF32Step : public StepOf<ReluF32Step> {
 public:
  explicit ReluF32Step(int64_t elements) : elements_(elements) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::ReluF32(io.X<float>(), elements_, io.Y<float>());
  }

 private:
  int64_t elements_;
};

class ReluF32 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<ReluF32Step>(node.layer->output.elements());
  }
};

class ReluU8Step : public StepOf<ReluU8Step> {
 public:
  ReluU8Step(int64_t elements, int32_t zero)
      : elements_(elements), zero_(static_cast<uint8_t>(zero)) {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::ReluU8(io.X<uint8_t>(), elements_, zero_, io.Y<uint8_t>());
  }

 private:
  int64_t elements_;
  uint8_t zero_;
};

/// Of a value that has negative steps; of others the engine knows that there is nothing to do.
class ReluU8 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<ReluU8Step>(node.layer->output.elements(), node.input_zero());
  }
};

constexpr ReluF32 kF32("relu_f32", 4);
constexpr ReluU8 kU8("relu_u8", 1);

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> ReluKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> ReluKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
