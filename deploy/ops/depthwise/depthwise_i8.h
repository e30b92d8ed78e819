// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on u8 maps, channels last:
//   acc[xo][c] = bias[c] + Σ_p x[…][c] · weight_pc[p][c],  p = ky·kernel_w + kx
// with `zero` in the place of x outside of the map. 255 · 127 fits 16 bits: a product is one 16-bit
// multiplication, exact on every instruction set. Bound: two loads that widen, a multiplication, a
// widening and an addition for 16 products.
// Tested in: depthwise_i8_test.cc. Reference: depthwise_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_I8_H_
#define BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_I8_H_

#include <cstdint>

#include "deploy/ops/pool/pool_f32.h"

namespace bisparse::kernels {

struct DepthwiseI8Args {
  PoolShape shape;                 ///< map and window; as many outputs as channels
  const uint8_t* x_yxc = nullptr;  ///< the whole map
  uint8_t zero = 0;
  const int8_t* weight_pc = nullptr;  ///< −127 … 127
  int64_t weight_stride = 0;          ///< bytes from one p to the next, >= channels
  const int32_t* bias_c = nullptr;
  int64_t row = 0;         ///< output row
  int32_t* acc = nullptr;  ///< [out_w][channels], of that row
};
void DepthwiseI8(const DepthwiseI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_DEPTHWISE_DEPTHWISE_I8_H_
