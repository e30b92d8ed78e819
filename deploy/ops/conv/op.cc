// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/conv/op.h"

#include "deploy/ops/shared/weights.h"
#include "deploy/packed/layer_check.h"

namespace bisparse::packed {
namespace {

void CheckConv2d(const LayerCheck& check) {
  check.CheckWindow(check.layer.output.channels, /*pool=*/false);
  CheckWeights(check);
}

void CheckDepthwise(const LayerCheck& check) {
  check.CheckWindow(check.layer.input.channels, /*pool=*/false);
  if (check.layer.packing.set_size != 1) {
    check.Refuse("set_size = {}, a depthwise convolution has 1", check.layer.packing.set_size);
  }
  CheckWeights(check);
}

}  // namespace

const Operator kConv2dOperator = {.kind = LayerKind::kConv2d,
                                  .name = "conv2d",
                                  .has_weights = true,
                                  .has_window = true,
                                  .output_steps = OutputSteps::kOwn,
                                  .check = CheckConv2d,
                                  .work = WorkOfWeights,
                                  .run_f32 = RunWeightsF32,
                                  .run_i8 = RunWeightsI8};
const Operator kDepthwiseOperator = {.kind = LayerKind::kDepthwiseConv2d,
                                     .name = "depthwise",
                                     .has_weights = true,
                                     .has_window = true,
                                     .output_steps = OutputSteps::kOwn,
                                     .check = CheckDepthwise,
                                     .work = WorkOfWeights,
                                     .run_f32 = RunWeightsF32,
                                     .run_i8 = RunWeightsI8};

}  // namespace bisparse::packed
