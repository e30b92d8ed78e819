// SPDX-License-Identifier: Apache-2.0
// The kernels of affine. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_AFFINE_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_AFFINE_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> AffineKernelsF32();
std::span<const Kernel* const> AffineKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_AFFINE_KERNELS_H_
