// SPDX-License-Identifier: Apache-2.0
// Batch norm in training, with the max-pool after it, of maps channels last. A positive scale keeps the order of a channel's
// values and a negative one turns it round, so the pool comes first and what follows works on a map of its size:
//
//   y[o, c] = scale[c]·best[o, c] + shift[c]      best: the window's largest x where scale >= 0, its smallest where < 0
//   dx[q, c] = scale[c]·(Σ dy of windows whose best is q) − offset[c] − slope[c]·x[q, c]
//
// scale = γ/σ, shift = β − scale·mean, and with N positions of all samples
//   slope = scale·Σ dy·(x − mean)/(N·σ²),  offset = scale·Σ dy/N − slope·mean.
// The sums need the pooled maps alone. Who calls adds up the samples' parts, in one order.
// Read first: docs/notation.md. Tested in: norm_pool_f32_test.cc. Source: Ioffe, Szegedy 2015, Algorithm 1.
#ifndef BISPARSE_DEPLOY_OPS_TRAINING_NORM_POOL_F32_H_
#define BISPARSE_DEPLOY_OPS_TRAINING_NORM_POOL_F32_H_

#include <cstdint>

namespace bisparse::kernels {

/// mean_c, and square_c = Σ over positions of (x − mean)². positions > 0.
void NormStatisticsF32(const float* x_qc, int64_t positions, int64_t channels, float* mean_c,
                       float* square_c) noexcept;

/// sum_c = Σ dy, product_c = Σ dy·(x − mean).
void NormSumsF32(const float* dy_qc, const float* x_qc, int64_t positions, int64_t channels,
                 const float* mean_c, float* sum_c, float* product_c) noexcept;

/// No pool: dx = scale·dy − offset − slope·x.
void NormBackwardF32(const float* x_qc, const float* dy_qc, int64_t positions, int64_t channels,
                     const float* scale_c, const float* slope_c, const float* offset_c,
                     float* dx_qc) noexcept;

/// Windows have at most 256 places and lie with at least one inside the map.
struct NormPoolShape {
  int32_t in_h = 0, in_w = 0, out_h = 0, out_w = 0, channels = 0;
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
};

/// Of one map: y, best and the place in the window where it was found (ky·kernel_w + kx, the first of equal ones; NaN is
/// best).
void NormPoolForwardF32(const NormPoolShape& shape, const float* x_qc, const float* scale_c,
                        const float* shift_c, float* y_oc, float* best_oc,
                        uint8_t* tap_oc) noexcept;

/// The gradient of one map; windows add up in their order.
void NormPoolBackwardF32(const NormPoolShape& shape, const float* x_qc, const float* dy_oc,
                         const uint8_t* tap_oc, const float* scale_c, const float* slope_c,
                         const float* offset_c, float* dx_qc) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_TRAINING_NORM_POOL_F32_H_
