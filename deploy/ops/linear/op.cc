// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/linear/op.h"

#include "deploy/ops/shared/weights.h"
#include "deploy/packed/layer_check.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  check.CheckOutput({1, 1, check.layer.output.channels});
  CheckWeights(check);
}

}  // namespace

const Operator kLinearOperator = {.kind = LayerKind::kLinear,
                                  .name = "linear",
                                  .has_weights = true,
                                  .output_steps = OutputSteps::kOwn,
                                  .check = Check,
                                  .work = WorkOfWeights,
                                  .run_f32 = RunWeightsF32,
                                  .run_i8 = RunWeightsI8};

}  // namespace bisparse::packed
