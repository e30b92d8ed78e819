// SPDX-License-Identifier: Apache-2.0
// The kernels of depthwise convolution, fastest first. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_DEPTHWISE_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_DEPTHWISE_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> DepthwiseKernelsF32();
std::span<const Kernel* const> DepthwiseKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_DEPTHWISE_KERNELS_H_
