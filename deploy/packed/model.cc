// SPDX-License-Identifier: Apache-2.0
// Read first: model.h. The checks are in validate_model.cc.
#include "deploy/packed/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"

namespace bisparse::packed {
namespace {

/// Places of a window along one axis, 0 if it does not fit.
int32_t Places(int32_t size, int64_t extent, int32_t stride, int32_t pad) {
  const int64_t room = int64_t{size} + 2 * int64_t{pad} - extent;
  if (room < 0 || stride < 1) return 0;
  return static_cast<int32_t>(std::min<int64_t>(room / stride + 1, INT32_MAX));
}

}  // namespace

const char* LayerKindName(LayerKind kind) {
  return kind <= kLastLayerKind ? OperatorOf(kind).name : "unknown";
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
  return {Places(input.height, window.extent_h(), window.stride_h, window.pad_h),
          Places(input.width, window.extent_w(), window.stride_w, window.pad_w), channels};
}

ptrdiff_t LastWithWeights(const Model& model) {
  ptrdiff_t last = std::ssize(model.layers) - 1;
  while (last >= 0 && !model.layers[last].HasWeights()) --last;
  return last;
}

std::string I8Fault(const Model& model) {
  const ptrdiff_t last = LastWithWeights(model);
  if (last < 0) return "int8 needs a conv2d or linear";
  const Graph graph(model);
  for (ptrdiff_t i = 0; i < std::ssize(model.layers); ++i) {
    const Layer& layer = model.layers[static_cast<size_t>(i)];
    const Operator& op = OperatorOf(layer.kind);
    const bool affine = layer.kind == LayerKind::kAffine;
    std::string allowed;
    if (affine && i > 0) {
      allowed =
          "no affine but as the first layer (hint: a batch_norm directly after its conv2d or "
          "linear is folded)";
    } else if (affine && graph.readers(-1).size() > 1) {
      allowed = "no other reader of the input beside it";
    } else if (i > last && !op.is_view) {
      allowed = fmt::format("only flatten after the logits of '{}'",
                            model.layers[static_cast<size_t>(last)].name);
    } else if (std::ssize(graph.inputs(i)) > op.most_inputs_i8) {
      allowed = fmt::format("{} inputs at most", op.most_inputs_i8);
    }
    if (!allowed.empty()) {
      return fmt::format("layer '{}': kind = {}, int8 allows {}", layer.name, op.name, allowed);
    }
  }
  return {};
}

std::vector<bool> NegativesAreRead(const Model& model) {
  const Graph graph(model);
  std::vector<bool> read(model.layers.size() + 1);
  for (size_t v = read.size(); v-- > 0;) {  // readers come after what they read
    for (const int32_t reader : graph.readers(static_cast<int64_t>(v) - 1)) {
      const auto at = static_cast<size_t>(reader);
      const Operator& op = OperatorOf(model.layers[at].kind);
      if (!op.drops_negatives && (!op.keeps_order || read[at + 1])) read[v] = true;
    }
  }
  return read;
}

Quantisation OutputQuantisation(const Layer& layer, const Quantisation& input) {
  switch (OperatorOf(layer.kind).output_steps) {
    case OutputSteps::kOwn:
      return {layer.output_scale, layer.output_zero};
    case OutputSteps::kAsInput:
      return input;
    case OutputSteps::kFromZero:
      return {input.scale, 0};
  }
  return {};
}

std::vector<Quantisation> Quantisations(const Model& model) {
  const Graph graph(model);
  std::vector<Quantisation> values = {{model.input_scale, model.input_zero}};
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const auto first = static_cast<size_t>(graph.inputs(static_cast<int64_t>(i)).front() + 1);
    values.push_back(OutputQuantisation(model.layers[i], values[first]));
  }
  return values;
}

const Layer* InputAffine(const Model& model) {
  const bool begins = !model.layers.empty() && model.layers.front().kind == LayerKind::kAffine;
  return begins ? &model.layers.front() : nullptr;
}

bool InputIsUnsigned(const Model& model) { return !NegativesAreRead(model).front(); }

}  // namespace bisparse::packed
