// SPDX-License-Identifier: Apache-2.0
// The kernels of sigmoid, hard_swish, gelu. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_ACTIVATION_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_ACTIVATION_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> ActivationKernelsF32();
std::span<const Kernel* const> ActivationKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_ACTIVATION_KERNELS_H_
