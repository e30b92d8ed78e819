// SPDX-License-Identifier: Apache-2.0
// Read first: join.h.
#include "deploy/ops/shared/join.h"

#include <algorithm>
#include <cmath>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {

void CheckRepeats(const LayerCheck& check) {
  const Shape& first = check.inputs[0].shape;
  for (size_t i = 1; i < check.inputs.size(); ++i) {
    const Shape& shape = check.inputs[i].shape;
    if (shape.channels == first.channels && (shape.height == first.height || shape.height == 1) &&
        (shape.width == first.width || shape.width == 1)) {
      continue;
    }
    check.Refuse(
        "input {} = {}, {} or height or width 1 instead expected (hint: the first input has the "
        "full shape)",
        i, Text(shape), Text(first));
  }
}

void CheckNoParameters(const LayerCheck& check) {
  check.CheckNoF32();
  check.CheckNoOwners();
  check.CheckNoI8Weights();
}

void CheckOutputSteps(const LayerCheck& check, double scale) {
  const Layer& layer = check.layer;
  if (!IsScale(layer.output_scale)) {
    check.Refuse("output_scale = {} is not a finite number above 0", layer.output_scale);
  }
  if (layer.output_scale != static_cast<float>(scale)) {
    check.Refuse("output_scale = {}, its inputs and output_shift = {} give {}", layer.output_scale,
                 layer.output_shift, static_cast<float>(scale));
  }
  check.CheckOutputZero(std::any_of(check.inputs.begin(), check.inputs.end(),
                                    [](const auto& input) { return input.steps.zero > 0; }));
}

void CheckJoin(const LayerCheck& check) {
  CheckNoParameters(check);
  if (check.format != NumberFormat::kI8) return check.CheckNoI8();
  const Layer& layer = check.layer;
  check.CheckSize("input_shift", std::span(layer.input_shift),
                  static_cast<int64_t>(check.inputs.size()));
  check.CheckRange("output_shift", layer.output_shift, 0, kMaxOutputShift);
  const auto common = [&](size_t i) {
    return std::ldexp(double{check.inputs[i].steps.scale}, -layer.input_shift[i]);
  };
  for (size_t i = 0; i < check.inputs.size(); ++i) {
    check.CheckRange("input_shift", layer.input_shift[i], 0, kMaxInputShift);
    if (common(i) == common(0)) continue;
    check.Refuse(
        "scale of input {} = {} with input_shift {}, of input 0 {} with {}: no common scale", i,
        check.inputs[i].steps.scale, layer.input_shift[i], check.inputs[0].steps.scale,
        layer.input_shift[0]);
  }
  CheckOutputSteps(check, std::ldexp(common(0), layer.output_shift));
}

Size WorkOfJoin(const Layer& layer) {
  return WorkOf(layer, Size(static_cast<int64_t>(layer.inputs.size())) * kWorkOfPassing);
}

}  // namespace bisparse::packed
