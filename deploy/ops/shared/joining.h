// SPDX-License-Identifier: Apache-2.0
// What entries of add, multiply and concat share. Read first: deploy/ops/kernel.h, join_maps.h.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_JOINING_H_
#define BISPARSE_DEPLOY_OPS_SHARED_JOINING_H_

#include <vector>

#include "deploy/ops/kernel.h"
#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/join_maps.h"
#include "deploy/ops/shared/layers.h"

namespace bisparse::ops {

/// A node's inputs as the join kernels take them.
class JoinedInputs {
 public:
  explicit JoinedInputs(const Node& node) {
    const Shape& out = node.layer->output;
    bool repeated = false;
    for (const Node::Input& input : node.inputs) {
      const Shape& in = input.shape;
      repeated |= in.height != out.height || in.width != out.width;
      stride_j_.push_back({in.height == 1 ? 0 : int64_t{in.width} * in.channels,
                           in.width == 1 ? 0 : int64_t{in.channels}});
    }
    shape_ = {.height = out.height, .width = out.width, .channels = out.channels};
    // Nothing repeated: one row.
    if (!repeated) shape_ = {.height = 1, .width = 1, .channels = out.elements()};
    shape_.inputs = static_cast<int32_t>(stride_j_.size());
    shape_.stride_j = stride_j_.data();
  }
  JoinedInputs(const JoinedInputs&) = delete;
  JoinedInputs& operator=(const JoinedInputs&) = delete;
  const kernels::JoinShape& shape() const { return shape_; }

 private:
  std::vector<kernels::JoinStride> stride_j_;
  kernels::JoinShape shape_;
};

/// An entry in f32, and perhaps the relu after it; kFunction is AddF32 or MultiplyF32.
template <auto kFunction>
class JoinF32 final : public Elementwise {
 public:
  using Elementwise::Elementwise;
  Use UseOf(const Node& node) const override {
    Use use = Elementwise::UseOf(node);
    use.relu = node.relu;
    return use;
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use& use, LayerSummary&) const override {
    return std::make_unique<JoinStep>(node, use.relu);
  }

 private:
  class JoinStep : public StepOf<JoinStep> {
   public:
    JoinStep(const Node& node, bool relu) : inputs_(node), relu_(relu) {}
    void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
      kFunction(inputs_.shape(), io.x_j, relu_, io.Y<float>());
    }

   private:
    JoinedInputs inputs_;
    bool relu_;
  };
};

/// The rounding term of a shift to the right, and the output's zero before it.
inline int32_t JoinConstant(const packed::Layer& layer) {
  const int32_t shift = layer.output_shift;
  return (shift > 0 ? 1 << (shift - 1) : 0) + (layer.output_zero << shift);
}

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_JOINING_H_
