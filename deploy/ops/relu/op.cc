// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/relu/op.h"

#include <algorithm>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  check.CheckOutput(check.layer.input);
  check.CheckNoWeights();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, 0); }

void RunF32(const Layer&, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::max(inputs[0].x[i], 0.0f);
}

void RunI8(const Layer&, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::max(inputs[0].x[i] - inputs[0].zero, 0);
}

}  // namespace

const Operator kReluOperator = {.kind = LayerKind::kRelu,
                                .name = "relu",
                                .output_steps = OutputSteps::kFromZero,
                                .drops_negatives = true,
                                .check = Check,
                                .work = CountWork,
                                .run_f32 = RunF32,
                                .run_i8 = RunI8};

}  // namespace bisparse::packed
