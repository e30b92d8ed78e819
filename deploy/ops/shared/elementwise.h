// SPDX-License-Identifier: Apache-2.0
// What entries share that treat each element by itself. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_H_
#define BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_H_

#include "deploy/ops/kernel.h"
#include "deploy/ops/shared/counts.h"

namespace bisparse::ops {

/// An entry that takes every layer of its kind and whose work is a pass over the elements of its inputs.
class Elementwise : public Kernel {
 public:
  constexpr Elementwise(const char* name, int32_t element_bytes)
      : Kernel(name), element_bytes_(element_bytes) {}

  const char* Refuses(const Node&) const override { return nullptr; }
  Use UseOf(const Node& node) const override {
    return {.kernel = this, .active_inputs = node.layer->input.elements(), .dense_weights = true};
  }
  Work Count(const packed::Layer& layer, const Use&, int32_t vector_bytes) const override {
    const double inputs = std::max<double>(1, static_cast<double>(layer.inputs.size()));
    return {.units = inputs * Ceil(static_cast<double>(layer.output.elements()),
                                   double{1} * vector_bytes / element_bytes_)};
  }

 protected:
  ~Elementwise() = default;

 private:
  int32_t element_bytes_;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_H_
