// SPDX-License-Identifier: Apache-2.0
// The layers that read several values.
//
//   add       y = x_0 + x_1 + …     a height or width of 1 is repeated over that of x_0
//   multiply  y = x_0 · x_1 · …     likewise
//   concat    the channels of x_0, then those of x_1, …
//
// Flat values are maps of one position where another input is a map. Read first: operators.h. Tested in:
// operators_test.cc.
#ifndef BISPARSE_TRAIN_NN_JOIN_H_
#define BISPARSE_TRAIN_NN_JOIN_H_

#include "train/nn/operators.h"

namespace bisparse::train {

torch::Tensor AddUp(const LayerConfig& layer, Inputs x, bool training);
torch::Tensor Multiply(const LayerConfig& layer, Inputs x, bool training);
torch::Tensor Concat(const LayerConfig& layer, Inputs x, bool training);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_JOIN_H_
