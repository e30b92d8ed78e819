// SPDX-License-Identifier: Apache-2.0
// Batch norm in training by the kernels of deploy/ops/training, with the max-pool after it where there is one: one walk over
// the large map for both, and a gradient that never holds the map between them.
//
//   y = max_pool(batch_norm(x))      x: a map (NCHW, channels last in memory) or flat
//
// Statistics are summed sample by sample in their order: any number of threads gives the same bits.
// Read first: deploy/ops/training/norm_pool_f32.h, batch_norm.h. Tested in: norm_pool_test.cc.
#ifndef BISPARSE_TRAIN_NN_NORM_POOL_H_
#define BISPARSE_TRAIN_NN_NORM_POOL_H_

#include <torch/torch.h>

#include "deploy/packed/model.h"

namespace bisparse::train {

/// Of batch norm, as LibTorch has them. weight and bias may be undefined; running statistics are updated.
struct NormParameters {
  torch::Tensor weight, bias, running_mean, running_var;
  double momentum = 0.1, epsilon = 1e-5;
};

/// Windows that NormPool takes: at most 256 places.
bool CanNormPool(const packed::Window& window);

/// y; f32 on the CPU. pool: null for batch norm alone. Differentiable with respect to x, weight and bias.
torch::Tensor NormPool(const torch::Tensor& x, const NormParameters& norm,
                       const packed::Window* pool);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_NORM_POOL_H_
