// SPDX-License-Identifier: Apache-2.0
// The kernels of linear layer, fastest first. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> LinearKernelsF32();
std::span<const Kernel* const> LinearKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_KERNELS_H_
