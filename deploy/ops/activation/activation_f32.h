// SPDX-License-Identifier: Apache-2.0
// y[i] = f(x[i]), i < n, of an activation; y may be x. Off by at most 8 · 2^-24 · |y|, or by 2^-126 near 0.
//
//   sigmoid   with e = exp(−|x|):  x ≥ 0: 1 / (1 + e),  else e / (1 + e)
//   hard_swish  x · (clamp(x + 3, 0, 6) · 1/6); 6 · float(1/6) is 1
//   gelu        with a = |x| and h = exp(−a²/2) · Q(1 / (1 + 0.3·a)), the part of a normal distribution below −a:
//               x ≥ 0: x · (1 − h), else x · h. Q is a polynomial without constant term, fitted on a ≤ 14.5, where
//               h is 0 in float; it is off by 5e-9. exp(−a²/2) is exp(−b²/2) · exp((b − a)·(b + a)/2) with b = a cut to
//               12 bits: b² is exact and the second exponent below 2^-4.
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
