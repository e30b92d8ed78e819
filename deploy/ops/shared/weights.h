// SPDX-License-Identifier: Apache-2.0
// What conv2d, depthwise and linear share: checks of packed weights, work, and the scalar references.
//   f32   y[o] = bias[o] + Σ_p weight[o][p]·x[p], summed in double; padding is 0
//   int8  acc[o] = bias[o] + Σ_p weight[o][p]·q[p], padding is the input's zero;
//         q = clamp(((acc + 2^(shift−1)) >> shift) + output_zero, 0, 255), or acc where the layer gives the logits
// Read first: deploy/packed/layout.h, NumberFormat in deploy/packed/model.h. Tested in: deploy/packed/model_i8_test.cc,
// deploy/reference/reference_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_WEIGHTS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_WEIGHTS_H_

#include <cstdint>
#include <span>

#include "deploy/ops/operator.h"

namespace bisparse::packed {

/// Owners, weights, biases, in int8 shifts and scales; the kernel's shape must fit 64 bits (kMaxElements sees to it).
void CheckWeights(const LayerCheck& check);
Size WorkOfWeights(const Layer& layer);
void RunWeightsF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
                   double& largest);
void RunWeightsI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out);

/// (value + 2^(shift−1)) >> shift, without the rounding term for a shift of 0, plus `zero`, as u8.
int32_t Requantised(int64_t value, int32_t shift, int32_t zero);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_SHARED_WEIGHTS_H_
