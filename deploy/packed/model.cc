// SPDX-License-Identifier: Apache-2.0
// Read first: model.h. The checks are in validate_model.cc.
#include "deploy/packed/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

namespace bisparse::packed {
namespace {

/// Places of a window along one axis, 0 if it does not fit.
int32_t Places(int32_t size, int32_t kernel, int32_t stride, int32_t pad) {
  const int64_t room = int64_t{size} + 2 * int64_t{pad} - kernel;
  if (room < 0 || stride < 1) return 0;
  return static_cast<int32_t>(std::min<int64_t>(room / stride + 1, INT32_MAX));
}

}  // namespace

const char* LayerKindName(LayerKind kind) {
  switch (kind) {
    case LayerKind::kConv2d:
      return "conv2d";
    case LayerKind::kLinear:
      return "linear";
    case LayerKind::kAffine:
      return "affine";
    case LayerKind::kMaxPool:
      return "max_pool";
    case LayerKind::kAvgPool:
      return "avg_pool";
    case LayerKind::kRelu:
      return "relu";
    case LayerKind::kKwta:
      return "kwta";
    case LayerKind::kFlatten:
      return "flatten";
    case LayerKind::kDepthwiseConv2d:
      return "depthwise";
    case LayerKind::kAdd:
      return "add";
    case LayerKind::kMultiply:
      return "multiply";
    case LayerKind::kConcat:
      return "concat";
  }
  return "unknown";
}

bool AreNarrow(std::span<const int8_t> weights) {
  return std::all_of(weights.begin(), weights.end(),
                     [](int8_t w) { return -kNarrowWeight <= w && w <= kNarrowWeight; });
}

const char* NumberFormatName(NumberFormat format) {
  return format == NumberFormat::kI8 ? "int8" : "f32";
}

KernelShape Layer::kernel() const {
  if (kind == LayerKind::kConv2d) {
    return {output.channels, input.channels, window.kernel_h, window.kernel_w};
  }
  if (kind == LayerKind::kDepthwiseConv2d) {
    return {output.channels, 1, window.kernel_h, window.kernel_w};
  }
  return {output.channels, static_cast<int32_t>(input.elements()), 1, 1};
}

Shape WindowOutput(const Shape& input, const Window& window, int32_t channels) {
  return {Places(input.height, window.kernel_h, window.stride_h, window.pad_h),
          Places(input.width, window.kernel_w, window.stride_w, window.pad_w), channels};
}

ptrdiff_t LastWithWeights(const Model& model) {
  ptrdiff_t last = std::ssize(model.layers) - 1;
  while (last >= 0 && !model.layers[last].HasWeights()) --last;
  return last;
}

std::string I8Fault(const Model& model) {
  const ptrdiff_t last = LastWithWeights(model);
  if (last < 0) return "int8 needs a conv2d or linear";
  const Layer* front = nullptr;  // the layer with weights in front
  bool open = false;             // its sums have not met their ReLU
  bool averaged = false;         // by a pool in front of the first one
  for (ptrdiff_t i = 0; i < std::ssize(model.layers); ++i) {
    const Layer& layer = model.layers[i];
    const LayerKind kind = layer.kind;
    const bool max_pool = kind == LayerKind::kMaxPool, flatten = kind == LayerKind::kFlatten;
    const bool relu = kind == LayerKind::kRelu || kind == LayerKind::kKwta;
    std::string allowed;
    if (kind == LayerKind::kAffine && i > 0) {
      allowed =
          "no affine but as the first layer (hint: a batch_norm directly behind its conv2d or "
          "linear is folded)";
    } else if (i > last && !flatten) {
      allowed = fmt::format("only flatten behind the logits of '{}'", front->name);
    } else if (front == nullptr && relu && averaged) {
      allowed = "no avg_pool in front of the first relu or kwta";
    } else if (open && !max_pool && !flatten && !relu) {
      allowed =
          fmt::format("only max_pool and flatten between '{}' and its relu or kwta", front->name);
    }
    if (!allowed.empty()) {
      return fmt::format("layer '{}': kind = {}, int8 allows {}", layer.name, LayerKindName(kind),
                         allowed);
    }
    averaged |= kind == LayerKind::kAvgPool && front == nullptr;
    if (relu) open = false;
    if (layer.HasWeights()) {
      front = &layer;
      open = i < last;
    }
  }
  return {};
}

const Layer* InputAffine(const Model& model) {
  const bool begins = !model.layers.empty() && model.layers.front().kind == LayerKind::kAffine;
  return begins ? &model.layers.front() : nullptr;
}

bool InputIsUnsigned(const Model& model) {
  const auto begin = model.layers.begin(), end = model.layers.end();
  const auto first = std::find_if(begin, end, [](const Layer& l) { return l.HasWeights(); });
  return std::any_of(begin, first, [](const Layer& l) {
    return l.kind == LayerKind::kRelu || l.kind == LayerKind::kKwta;
  });
}

}  // namespace bisparse::packed
