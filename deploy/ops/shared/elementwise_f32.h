// SPDX-License-Identifier: Apache-2.0
// Element by element:
//   ReluF32    y[i] = max(x[i], 0), i < n                                        y may be x
//   AffineF32  y[q][c] = scale_c[c] · x[q][c] + shift_c[c], q < positions         y may be x
// Tested in: elementwise_f32_test.cc. Reference: elementwise_f32_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_H_
#define BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_H_

#include <cstdint>

namespace bisparse::kernels {

void ReluF32(const float* x, int64_t n, float* y) noexcept;

void AffineF32(const float* x_qc, int64_t positions, int64_t channels, const float* scale_c,
               const float* shift_c, float* y_qc) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_H_
