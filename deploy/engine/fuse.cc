// SPDX-License-Identifier: Apache-2.0
// Read first: fuse.h. Tested in: engine_test.cc.
#include "deploy/engine/fuse.h"

namespace bisparse {
namespace {

void MarkDone(Plan& plan, size_t i, const char* reason) {
  plan.steps[i].done_by_other = true;
  plan.layers[i].kernel = "none";
  plan.layers[i].reason = reason;
}

/// The k-WTA behind step i's max-pool too, where only its list is read.
void FuseWinners(Plan& plan, size_t i) {
  size_t behind = i + 2;
  if (behind < plan.steps.size() && plan.steps[behind].kernel == StepKernel::kRelu) ++behind;
  if (behind >= plan.steps.size() || plan.steps[behind].kernel != StepKernel::kKwta) return;
  const Step& kwta = plan.steps[behind];
  if (!kwta.emits_winners || !CanPoolWinnersF32(plan.steps[i].prepared.plan, kwta.kwta)) return;
  plan.steps[i].kwta = kwta.kwta;
  plan.steps[i].emits_winners = true;
  plan.steps[i].winner_count = kwta.winner_count;
  MarkDone(plan, behind, "done by the convolution in front");
}

/// The 2×2 max-pool of step i in the k-WTA behind it.
void FusePool(Plan& plan, size_t i) {
  size_t behind = i + 1;
  if (behind < plan.steps.size() && plan.steps[behind].kernel == StepKernel::kRelu) ++behind;
  if (behind >= plan.steps.size() || plan.steps[behind].kernel != StepKernel::kKwta) return;
  const kernels::PoolShape& pool = plan.steps[i].pool;
  const bool by_two = pool.kernel_h == 2 && pool.kernel_w == 2 && pool.stride_h == 2 &&
                      pool.stride_w == 2 && pool.pad_h == 0 && pool.pad_w == 0;
  kernels::KwtaF32Args& kwta = plan.steps[behind].kwta;
  if (!by_two || !KwtaPoolsF32(kwta)) return;
  kwta.pool_w = pool.in_w;
  MarkDone(plan, i, "done by the k-WTA behind");
}

}  // namespace

void Fuse(Plan& plan) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (i > 0 && plan.steps[i - 1].kernel == StepKernel::kConvPackedPooled) {
      MarkDone(plan, i, "done by the layer in front");
      FuseWinners(plan, i - 1);
    } else if (plan.steps[i].kernel == StepKernel::kMaxPool) {
      FusePool(plan, i);
    }
    if (plan.steps[i].kernel != StepKernel::kRelu) continue;
    const StepKernel before = i > 0 ? plan.steps[i - 1].kernel : StepKernel::kNone;
    const bool fuses = before == StepKernel::kConvDense || before == StepKernel::kDepthwise ||
                       before == StepKernel::kLinearDense ||
                       before == StepKernel::kLinearDenseWinners;
    const bool kwta = i + 1 < plan.steps.size() && plan.steps[i + 1].kernel == StepKernel::kKwta;
    if (!fuses && !kwta) continue;
    if (fuses) plan.steps[i - 1].fused_relu = true;
    MarkDone(plan, i, fuses ? "done by the layer in front" : "done by the k-WTA behind");
  }
}

}  // namespace bisparse
