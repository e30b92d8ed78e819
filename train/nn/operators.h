// SPDX-License-Identifier: Apache-2.0
// What LibTorch computes of the layers that have no state; the others are modules: packed_weight.h, batch_norm.h,
// layer_norm.h, kwta.h.
//
//   y = f(x_0, x_1, …)      x: the values that the layer reads, in the order of LayerConfig::inputs
//
// Read first: shapes.h, train/config/operators.h. Tested in: operators_test.cc (values, gradients).
#ifndef BISPARSE_TRAIN_NN_OPERATORS_H_
#define BISPARSE_TRAIN_NN_OPERATORS_H_

#include <torch/torch.h>

#include <span>

#include "train/config/config.h"

namespace bisparse::train {

using Inputs = std::span<const torch::Tensor>;

/// Differentiable with respect to every input. `training`: dropout zeroes.
using Function = torch::Tensor (*)(const LayerConfig& layer, Inputs x, bool training);

/// Null for a kind of layer that is a module.
Function FunctionOf(LayerKind kind);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_OPERATORS_H_
