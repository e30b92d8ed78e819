// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/multiply/op.h"

#include <algorithm>
#include <cmath>

#include "deploy/ops/shared/join.h"
#include "deploy/ops/shared/weights.h"
#include "deploy/packed/layer_check.h"

namespace bisparse::packed {
namespace {

/// int8: the product of the inputs' scales, times 2^output_shift and rounded to a float, is the output's.
void CheckI8(const LayerCheck& check) {
  const Layer& layer = check.layer;
  check.CheckSize("input_shift", std::span(layer.input_shift), 0);
  check.CheckRange("output_shift", layer.output_shift, 0, kMaxOutputShift);
  const double scale = double{check.inputs[0].steps.scale} * double{check.inputs[1].steps.scale};
  CheckOutputSteps(check, std::ldexp(scale, layer.output_shift));
}

void Check(const LayerCheck& check) {
  CheckRepeats(check);
  check.CheckOutput(check.layer.input);
  CheckNoParameters(check);
  check.format == NumberFormat::kI8 ? CheckI8(check) : check.CheckNoI8();
}

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
            double& largest) {
  ForEachElement(layer.output, [&](size_t i, int64_t y, int64_t x, int64_t c) {
    float product = Repeated(inputs[0], y, x, c);
    for (const Map<float>& in : inputs.subspan(1)) product *= Repeated(in, y, x, c);
    out[i] = product;
    largest = std::max(largest, std::abs(double{product}));
  });
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  ForEachElement(layer.output, [&](size_t i, int64_t y, int64_t x, int64_t c) {
    const int64_t a = Repeated(inputs[0], y, x, c) - inputs[0].zero;
    const int64_t b = Repeated(inputs[1], y, x, c) - inputs[1].zero;
    out[i] = Requantised(a * b, layer.output_shift, layer.output_zero);
  });
}

}  // namespace

const Operator kMultiplyOperator = {.kind = LayerKind::kMultiply,
                                    .name = "multiply",
                                    .most_inputs = kMaxInputs,
                                    .most_inputs_i8 = 2,
                                    .output_steps = OutputSteps::kOwn,
                                    .check = Check,
                                    .work = WorkOfJoin,
                                    .run_f32 = RunF32,
                                    .run_i8 = RunI8};

}  // namespace bisparse::packed
