// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/concat/op.h"

#include "deploy/ops/shared/join.h"
#include "deploy/ops/shared/weights.h"
#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  const Shape& first = check.inputs[0].shape;
  int64_t channels = 0;
  for (size_t i = 0; i < check.inputs.size(); ++i) {
    const Shape& shape = check.inputs[i].shape;
    channels += shape.channels;
    if (shape.height == first.height && shape.width == first.width) continue;
    check.Refuse("input {} = {}, height {} and width {} of the first input expected", i,
                 Text(shape), first.height, first.width);
  }
  check.CheckRange("the channels of its inputs together", channels, 1, kMaxElements);
  check.CheckOutput({first.height, first.width, static_cast<int32_t>(channels)});
  CheckJoin(check);
}

Size CountWork(const Layer& layer) { return WorkOf(layer, kWorkOfPassing); }

/// Calls visit(element, input, index): output `element` is that input's element `index`.
template <class T, class Visit>
void ForEachCopy(const Layer& layer, std::span<const Map<T>> inputs, const Visit& visit) {
  size_t element = 0;
  for (int64_t y = 0; y < layer.output.height; ++y) {
    for (int64_t x = 0; x < layer.output.width; ++x) {
      for (size_t k = 0; k < inputs.size(); ++k) {
        for (int64_t c = 0; c < inputs[k].shape.channels; ++c) {
          visit(element++, k, inputs[k].Index(y, x, c));
        }
      }
    }
  }
}

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  ForEachCopy(layer, inputs,
              [&](size_t element, size_t k, size_t index) { out[element] = inputs[k].x[index]; });
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  ForEachCopy(layer, inputs, [&](size_t element, size_t k, size_t index) {
    const int64_t steps = inputs[k].x[index] - inputs[k].zero;
    out[element] =
        Requantised(steps * (1 << layer.input_shift[k]), layer.output_shift, layer.output_zero);
  });
}

}  // namespace

const Operator kConcatOperator = {.kind = LayerKind::kConcat,
                                  .name = "concat",
                                  .most_inputs = kMaxInputs,
                                  .output_steps = OutputSteps::kOwn,
                                  .check = Check,
                                  .work = CountWork,
                                  .run_f32 = RunF32,
                                  .run_i8 = RunI8};

}  // namespace bisparse::packed
