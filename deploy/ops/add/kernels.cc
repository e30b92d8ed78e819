// SPDX-License-Identifier: Apache-2.0
// Entries of add. Read first: deploy/ops/kernel.h, deploy/ops/shared/join_maps.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/add/kernels.h"

#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/joining.h"

namespace bisparse::ops {
namespace {

class U8Step : public StepOf<U8Step> {
 public:
  explicit U8Step(const Node& node)
      : inputs_(node),
        shift_j_(node.layer->input_shift.begin(), node.layer->input_shift.end()),
        args_{.shape = inputs_.shape(),
              .shift_j = shift_j_.data(),
              .constant = JoinConstant(*node.layer),
              .shift = node.layer->output_shift} {
    for (size_t j = 0; j < shift_j_.size(); ++j) {
      args_.constant -= node.inputs[j].zero << shift_j_[j];
    }
  }
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::AddU8(args_, io.x_j, io.Y<uint8_t>());
  }

 private:
  JoinedInputs inputs_;
  std::vector<int32_t> shift_j_;
  kernels::AddU8Args args_;
};

class AddU8 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<U8Step>(node);
  }
};

constexpr JoinF32<kernels::AddF32> kF32("add_f32", 4);
constexpr AddU8 kU8("add_u8", 1);

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> AddKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> AddKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
