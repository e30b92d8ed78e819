// SPDX-License-Identifier: Apache-2.0
// Entries of concat. Read first: deploy/ops/kernel.h, deploy/ops/shared/join_maps.h. Tested in:
// deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/concat/kernels.h"

#include <cstring>

#include "deploy/ops/shared/elementwise.h"
#include "deploy/ops/shared/joining.h"

namespace bisparse::ops {
namespace {

/// Copies each input's channels of a position one after another; bytes are brought to the output's steps.
class ConcatStep : public StepOf<ConcatStep> {
 public:
  ConcatStep(const Node& node, int64_t element_bytes)
      : positions_(PositionsOf(node.layer->output)),
        row_bytes_(node.layer->output.channels * element_bytes) {
    const packed::Layer& layer = *node.layer;
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      Part part{.bytes = node.inputs[j].shape.channels * element_bytes};
      if (node.format == packed::NumberFormat::kI8) {
        const int32_t zero = node.inputs[j].zero, shift = layer.input_shift[j];
        part.steps = {.shift = shift,
                      .constant = JoinConstant(layer) - (zero << shift),
                      .output_shift = layer.output_shift};
        part.copies = shift == layer.output_shift && zero == layer.output_zero;
      }
      parts_.push_back(part);
    }
  }

  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    uint8_t* to = io.Y<uint8_t>();
    for (size_t j = 0; j < parts_.size(); to += parts_[j].bytes, ++j) {
      const Part& part = parts_[j];
      const auto* from = static_cast<const uint8_t*>(io.x_j[j]);
      const kernels::JoinStride stride{.y = 0, .x = part.bytes};
      for (int64_t p = 0; p < positions_; ++p, from += part.bytes) {
        uint8_t* y = to + p * row_bytes_;
        if (part.copies) {
          std::memcpy(y, from, static_cast<size_t>(part.bytes));
          continue;
        }
        const void* const x = from;
        kernels::AddU8({.shape = {.channels = part.bytes, .inputs = 1, .stride_j = &stride},
                        .shift_j = &part.steps.shift,
                        .constant = part.steps.constant,
                        .shift = part.steps.output_shift},
                       &x, y);
      }
    }
  }

 private:
  struct Steps {
    int32_t shift = 0, constant = 0, output_shift = 0;
  };
  struct Part {
    int64_t bytes = 0;  ///< of a position
    bool copies = true;
    Steps steps;
  };
  int64_t positions_, row_bytes_;
  std::vector<Part> parts_;
};

class Concat final : public Elementwise {
 public:
  constexpr Concat(const char* name, int32_t element_bytes)
      : Elementwise(name, element_bytes), element_bytes_(element_bytes) {}
  Work Count(const packed::Layer& layer, const Use&, int32_t vector_bytes) const override {
    return {.units = Ceil(static_cast<double>(layer.output.elements()),
                          double{1} * vector_bytes / element_bytes_)};
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use&, LayerSummary&) const override {
    return std::make_unique<ConcatStep>(node, element_bytes_);
  }

 private:
  int32_t element_bytes_;
};

constexpr Concat kF32("concat_f32", 4);
constexpr Concat kU8("concat_u8", 1);

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> ConcatKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> ConcatKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
