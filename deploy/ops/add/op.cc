// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/add/op.h"

#include <algorithm>
#include <cmath>

#include "deploy/ops/shared/join.h"
#include "deploy/ops/shared/weights.h"
#include "deploy/packed/layer_check.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  CheckRepeats(check);
  check.CheckOutput(check.layer.input);
  CheckJoin(check);
}

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
            double& largest) {
  ForEachElement(layer.output, [&](size_t i, int64_t y, int64_t x, int64_t c) {
    float sum = 0;
    double magnitude = 0;
    for (const Map<float>& in : inputs) {
      const float term = Repeated(in, y, x, c);
      sum = &in == inputs.data() ? term : sum + term;
      magnitude += std::abs(term);
    }
    out[i] = sum;
    largest = std::max(largest, magnitude);
  });
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  ForEachElement(layer.output, [&](size_t i, int64_t y, int64_t x, int64_t c) {
    int64_t sum = 0;
    for (size_t k = 0; k < inputs.size(); ++k) {
      sum += int64_t{Repeated(inputs[k], y, x, c) - inputs[k].zero} * (1 << layer.input_shift[k]);
    }
    out[i] = Requantised(sum, layer.output_shift, layer.output_zero);
  });
}

}  // namespace

const Operator kAddOperator = {.kind = LayerKind::kAdd,
                               .name = "add",
                               .most_inputs = kMaxInputs,
                               .output_steps = OutputSteps::kOwn,
                               .check = Check,
                               .work = WorkOfJoin,
                               .run_f32 = RunF32,
                               .run_i8 = RunI8};

}  // namespace bisparse::packed
