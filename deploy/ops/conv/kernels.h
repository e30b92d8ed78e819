// SPDX-License-Identifier: Apache-2.0
// The convolution's kernels, fastest first; the last one takes every convolution. Read first: deploy/ops/kernel.h.
#ifndef BISPARSE_DEPLOY_OPS_CONV_KERNELS_H_
#define BISPARSE_DEPLOY_OPS_CONV_KERNELS_H_

#include <span>

#include "deploy/ops/kernel.h"

namespace bisparse::ops {

std::span<const Kernel* const> ConvKernelsF32();
std::span<const Kernel* const> ConvKernelsI8();

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_CONV_KERNELS_H_
