// SPDX-License-Identifier: Apache-2.0
// Tested in: pool_u8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_POOL_POOL_U8_H_
#define BISPARSE_DEPLOY_OPS_POOL_POOL_U8_H_

#include <cstdint>

#include "deploy/ops/pool/pool_f32.h"

namespace bisparse::kernels {

/// Pooled maps, channels last; the average rounds half up. Padding is left out.
void MaxPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept;
void AvgPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_POOL_POOL_U8_H_
