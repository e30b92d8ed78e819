// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution, channels last: every channel has a kernel window of its own.
//   y[yo][xo][c] = bias[c] + Σ_p x[yo·stride_h − pad_h + ky·dilation_h][xo·stride_w − pad_w + kx·dilation_w][c] · weight_pc[p][c]
//   p = ky·kernel_w + kx; taps outside of the map are left out
// Channels are the vector; up to four vectors of them have sums in registers. Bound: two loads (an
// input, a weight from L1) for each multiply-add.
// Tested in: depthwise_f32_test.cc. Reference: depthwise_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_F32_H_
#define BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_F32_H_

#include <cstdint>

#include "deploy/ops/pool/pool_f32.h"

namespace bisparse::kernels {

struct DepthwiseF32Args {
  PoolShape shape;               ///< map and window; as many outputs as channels
  const float* x_yxc = nullptr;  ///< the whole map
  const float* weight_pc = nullptr;
  int64_t weight_stride = 0;  ///< floats from one p to the next, >= channels
  const float* bias_c = nullptr;
  bool relu = false;                   ///< y = max(y, 0) in the same pass
  int64_t row_begin = 0, row_end = 0;  ///< output rows
  float* y_yxc = nullptr;              ///< the whole output map; not x_yxc
};
void DepthwiseF32(const DepthwiseF32Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_F32_H_
