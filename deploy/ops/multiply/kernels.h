// SPDX-License-Identifier: Apache-2.0
// The kernels of multiply. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_MULTIPLY_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_MULTIPLY_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> MultiplyKernelsF32();
std::span<const Kernel* const> MultiplyKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_MULTIPLY_KERNELS_H_
