// SPDX-License-Identifier: Apache-2.0
// The two forms of a value in training: a map, NCHW in channels-last memory, and a flat one, NC, in the deployed order of a
// map's elements, (y·W + x)·C + c. Tested in: network_test.cc.
#ifndef BISPARSE_TRAIN_NN_SHAPES_H_
#define BISPARSE_TRAIN_NN_SHAPES_H_

#include <torch/torch.h>

namespace bisparse::train {

/// NCHW → N(HWC); a flat value as it is.
inline torch::Tensor Flat(const torch::Tensor& x) {
  return x.dim() == 4 ? x.permute({0, 2, 3, 1}).reshape({x.size(0), -1}) : x;
}

/// NC → NC11; a map as it is.
inline torch::Tensor Map(const torch::Tensor& x) {
  return x.dim() == 2 ? x.reshape({x.size(0), x.size(1), 1, 1}) : x;
}

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_SHAPES_H_
