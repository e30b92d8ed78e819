// SPDX-License-Identifier: Apache-2.0
// Entries of multiply. Read first: deploy/ops/kernel.h, deploy/ops/shared/join_maps.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/multiply/kernels.h"

#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/joining.h"

namespace bisparse::ops {
namespace {

class U8Step : public StepOf<U8Step> {
 public:
  explicit U8Step(const Node& node)
      : inputs_(node),
        args_{.shape = inputs_.shape(),
              .zero_0 = node.inputs[0].zero,
              .zero_1 = node.inputs[1].zero,
              .constant = JoinConstant(*node.layer),
              .shift = node.layer->output_shift} {}
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::MultiplyU8(args_, io.x_j, io.Y<uint8_t>());
  }

 private:
  JoinedInputs inputs_;
  kernels::MultiplyU8Args args_;
};

class MultiplyU8 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<U8Step>(node);
  }
};

constexpr JoinF32<kernels::MultiplyF32> kF32("multiply_f32", 4);
constexpr MultiplyU8 kU8("multiply_u8", 1);

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> MultiplyKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> MultiplyKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
