// SPDX-License-Identifier: Apache-2.0
// Pooling, channels last; padding takes no part, neither in the maximum nor in the count:
//   max:  y[yo][xo][c] = max over the window's taps inside the map of x[yo·sh − ph + ky][…][c]
//   avg:  y[yo][xo][c] = (Σ over the same taps, in the order (ky, kx)) / their number
// Every window must hold at least one tap inside the map (pad < kernel says so).
// Tested in: pool_f32_test.cc. Reference: pool_f32_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_POOL_POOL_F32_H_
#define BISPARSE_DEPLOY_OPS_POOL_POOL_F32_H_

#include <cstdint>

namespace bisparse::kernels {

struct PoolShape {
  int32_t in_h = 1, in_w = 1, channels = 1;
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int32_t dilation_h = 1, dilation_w = 1;  ///< of a depthwise convolution; pools have 1
  int64_t out_h() const {
    return (int64_t{in_h} + 2 * pad_h - (kernel_h - 1) * int64_t{dilation_h} - 1) / stride_h + 1;
  }
  int64_t out_w() const {
    return (int64_t{in_w} + 2 * pad_w - (kernel_w - 1) * int64_t{dilation_w} - 1) / stride_w + 1;
  }
};

/// Output rows [begin, end); x_yxc and y_yxc are whole maps and do not overlap.
void MaxPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) noexcept;
void AvgPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_POOL_POOL_F32_H_
