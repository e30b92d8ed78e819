// SPDX-License-Identifier: Apache-2.0
// The kernels of add. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_ADD_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_ADD_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> AddKernelsF32();
std::span<const Kernel* const> AddKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_ADD_KERNELS_H_
