// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/flatten/op.h"

#include <algorithm>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  check.CheckOutput({1, 1, static_cast<int32_t>(check.layer.input.elements())});
  check.CheckNoWeights();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, 0); }

void RunF32(const Layer&, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  std::copy(inputs[0].x.begin(), inputs[0].x.end(), out.begin());
}

void RunI8(const Layer&, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  std::copy(inputs[0].x.begin(), inputs[0].x.end(), out.begin());
}

}  // namespace

const Operator kFlattenOperator = {.kind = LayerKind::kFlatten,
                                   .name = "flatten",
                                   .is_view = true,
                                   .keeps_order = true,
                                   .check = Check,
                                   .work = CountWork,
                                   .run_f32 = RunF32,
                                   .run_i8 = RunI8};

}  // namespace bisparse::packed
