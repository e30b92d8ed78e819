// SPDX-License-Identifier: Apache-2.0
// Layer normalisation over the channels of each position of a map, or over all units of a flat value.
//
//   y = (x − mean) / √(variance + ε) · weight_c + bias_c        x: [B][C][H][W] or [B][C]
//
// mean and variance are over C, the variance without Bessel's correction. Source: Ba, Kiros, Hinton 2016.
// Read first: shapes.h. Tested in: layer_norm_test.cc.
#ifndef BISPARSE_TRAIN_NN_LAYER_NORM_H_
#define BISPARSE_TRAIN_NN_LAYER_NORM_H_

#include <torch/torch.h>

#include "train/config/config.h"

namespace bisparse::train {

/// Its parameters are called as LibTorch's own, which normalises the last dimensions.
class LayerNormImpl : public torch::nn::Module {
 public:
  explicit LayerNormImpl(const LayerConfig& config);

  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;  ///< gain and bias

 private:
  double epsilon_;
};
TORCH_MODULE(LayerNorm);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_LAYER_NORM_H_
