// SPDX-License-Identifier: Apache-2.0
// Read first: quantise.h.
#include "deploy/ops/quantise.h"

#include <algorithm>
#include <array>

#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/matmul_i8.h"

namespace bisparse::ops {
namespace {

class QuantiseStep : public StepOf<QuantiseStep> {
 public:
  explicit QuantiseStep(const packed::Model& model)
      : affine_(packed::InputAffine(model)),
        elements_(model.input.elements()),
        scale_(model.input_scale),
        zero_(model.input_zero) {}

  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    const float* x_i = io.X<float>();
    auto* q_i = io.Y<uint8_t>();
    if (affine_ == nullptr) return kernels::QuantiseI8(x_i, elements_, scale_, zero_, q_i);
    std::array<float, 256> block;
    for (int64_t begin = 0; begin < elements_; begin += std::ssize(block)) {
      const int64_t count = std::min(std::ssize(block), elements_ - begin);
      for (int64_t i = 0; i < count; ++i) {
        block[i] = packed::AffineAt(*affine_, static_cast<size_t>(begin + i), x_i[begin + i]);
      }
      kernels::QuantiseI8(block.data(), count, scale_, zero_, q_i + begin);
    }
  }

 private:
  const packed::Layer* affine_;
  int64_t elements_;
  float scale_;
  int32_t zero_;
};

}  // namespace

std::unique_ptr<Step> MakeQuantiseStep(const packed::Model& model) {
  return std::make_unique<QuantiseStep>(model);
}

Work CountQuantise(int64_t elements, int32_t vector_bytes) {
  const auto floats = static_cast<double>(elements);
  return {.units = floats * 4 / vector_bytes,
          .near_lines = floats * 5 / kLineBytes,
          .near_bytes = floats * 5};
}

}  // namespace bisparse::ops
