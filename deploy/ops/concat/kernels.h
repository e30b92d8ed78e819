// SPDX-License-Identifier: Apache-2.0
// The kernels of concat. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_CONCAT_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_CONCAT_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> ConcatKernelsF32();
std::span<const Kernel* const> ConcatKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_CONCAT_KERNELS_H_
