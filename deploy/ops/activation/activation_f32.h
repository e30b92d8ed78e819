// SPDX-License-Identifier: Apache-2.0
// y[i] = f(x[i]), i < n, of an activation; y may be x. Off by at most 8 · 2^-24 · |y|, or by 2^-126 near 0.
//
//   sigmoid   with e = exp(−|x|):  x ≥ 0: 1 / (1 + e),  else e / (1 + e)
//   hard_swish  x · (clamp(x + 3, 0, 6) · 1/6); 6 · float(1/6) is 1
//
// Bound: arithmetic, ActivationOperations(kind) vector operations. Tested in: activation_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_ACTIVATION_ACTIVATION_F32_H_
#define BISPARSE_DEPLOY_OPS_ACTIVATION_ACTIVATION_F32_H_

#include <cstdint>

#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// `kind`: one of packed::Activations().
void ActivationF32(packed::LayerKind kind, const float* x, int64_t n, float* y) noexcept;

/// Vector operations for a vector, a division counted as 5.
int32_t ActivationOperations(packed::LayerKind kind) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_ACTIVATION_ACTIVATION_F32_H_
