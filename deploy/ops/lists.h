// SPDX-License-Identifier: Apache-2.0
// Every operator's kernels. Read first: kernel.h. Tested in: deploy/engine/choose_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LISTS_H_
#define BISPARSE_DEPLOY_OPS_LISTS_H_

#include <span>
#include <string_view>
#include <vector>

#include "deploy/ops/kernel.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

/// Fastest first; the last one takes every layer of the kind. Empty where nothing is to do (flatten).
std::span<const Kernel* const> KernelsOf(packed::LayerKind kind, packed::NumberFormat format);
/// Of all operators, each once.
std::vector<const Kernel*> AllKernels(packed::NumberFormat format);
/// By its name; null where no kernel has it.
const Kernel* FindKernel(std::string_view name);

/// The first entry of the node's list that does not refuse it; the list is not empty.
const Kernel& ChooseKernel(const Node& node);

/// Kernel::Count, and the maps that are read and written: what the cost table prices.
Work CountWork(const packed::Layer& layer, const Use& use, packed::NumberFormat format,
               int32_t vector_bytes);

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_LISTS_H_
