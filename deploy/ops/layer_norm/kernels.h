// SPDX-License-Identifier: Apache-2.0
// The kernels of layer_norm. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_LAYER_NORM_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_LAYER_NORM_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> LayerNormKernelsF32();
std::span<const Kernel* const> LayerNormKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_LAYER_NORM_KERNELS_H_
