// SPDX-License-Identifier: Apache-2.0
// max_pool and avg_pool of a map; padding never wins and is not counted. Read first: operators.h. Tested in:
// network_test.cc.
#ifndef BISPARSE_TRAIN_NN_POOL_H_
#define BISPARSE_TRAIN_NN_POOL_H_

#include "train/nn/operators.h"

namespace bisparse::train {

torch::Tensor MaxPool(const LayerConfig& layer, Inputs x, bool training);
torch::Tensor AvgPool(const LayerConfig& layer, Inputs x, bool training);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_POOL_H_
