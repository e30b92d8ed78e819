// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/affine/op.h"

#include <algorithm>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  const Layer& layer = check.layer;
  check.CheckOutput(layer.input);
  check.CheckFloats("weight_pnl (scale)", layer.weight_pnl, layer.input.channels);
  check.CheckFloats("bias_o (shift)", layer.bias_o, layer.input.channels);
  check.CheckNoOwners();
  check.CheckNoI8();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, 0); }

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = AffineAt(layer, i, inputs[0].x[i]);
}

/// As the first layer it is part of the input already.
void RunI8(const Layer&, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  std::copy(inputs[0].x.begin(), inputs[0].x.end(), out.begin());
}

}  // namespace

const Operator kAffineOperator = {.kind = LayerKind::kAffine,
                                  .name = "affine",
                                  .keeps_order = true,  // in int8, where its output is the input
                                  .check = Check,
                                  .work = CountWork,
                                  .run_f32 = RunF32,
                                  .run_i8 = RunI8};

}  // namespace bisparse::packed
