// SPDX-License-Identifier: Apache-2.0
// The table of functions, a row a kind, and the ones that are a line. Read first: operators.h.
#include "train/nn/operators.h"

#include <algorithm>
#include <array>

#include "train/nn/join.h"
#include "train/nn/pool.h"
#include "train/nn/shapes.h"

namespace bisparse::train {
namespace {

torch::Tensor Relu(const LayerConfig&, Inputs x, bool) { return torch::relu(x[0]); }

torch::Tensor Sigmoid(const LayerConfig&, Inputs x, bool) { return torch::sigmoid(x[0]); }

torch::Tensor HardSwish(const LayerConfig&, Inputs x, bool) { return torch::hardswish(x[0]); }

torch::Tensor Gelu(const LayerConfig&, Inputs x, bool) { return torch::gelu(x[0]); }

torch::Tensor Dropout(const LayerConfig& layer, Inputs x, bool training) {
  return torch::dropout(x[0], layer.dropout, training);
}

torch::Tensor Flatten(const LayerConfig&, Inputs x, bool) { return Flat(x[0]); }

constexpr size_t kKinds = static_cast<size_t>(kLastLayerKind) + 1;

struct Row {
  LayerKind kind;
  Function function;
};
constexpr Row kRows[] = {
    {LayerKind::kConv2d, nullptr},
    {LayerKind::kConv1d, nullptr},
    {LayerKind::kDepthwiseConv2d, nullptr},
    {LayerKind::kLinear, nullptr},
    {LayerKind::kBatchNorm, nullptr},
    {LayerKind::kMaxPool, MaxPool},
    {LayerKind::kAvgPool, AvgPool},
    {LayerKind::kRelu, Relu},
    {LayerKind::kDropout, Dropout},
    {LayerKind::kFlatten, Flatten},
    {LayerKind::kKwta, nullptr},
    {LayerKind::kAdd, AddUp},
    {LayerKind::kMultiply, Multiply},
    {LayerKind::kConcat, Concat},
    {LayerKind::kSigmoid, Sigmoid},
    {LayerKind::kHardSwish, HardSwish},
    {LayerKind::kGelu, Gelu},
    {LayerKind::kLayerNorm, nullptr},
};
static_assert(std::size(kRows) == kKinds);
static_assert([] {
  for (size_t i = 0; i < kKinds; ++i) {
    if (kRows[i].kind != static_cast<LayerKind>(i)) return false;
  }
  return true;
}());

}  // namespace

Function FunctionOf(LayerKind kind) { return kRows[static_cast<size_t>(kind)].function; }

}  // namespace bisparse::train
