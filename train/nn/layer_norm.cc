// SPDX-License-Identifier: Apache-2.0
// Read first: layer_norm.h. Tested in: layer_norm_test.cc.
#include "train/nn/layer_norm.h"

namespace bisparse::train {

LayerNormImpl::LayerNormImpl(const LayerConfig& config) : epsilon_(config.epsilon) {
  const int64_t channels = config.input.channels;
  weight = register_parameter("weight", torch::ones({channels}));
  bias = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor LayerNormImpl::forward(const torch::Tensor& x) {
  const auto normalised = [this](const torch::Tensor& x_c) {
    return torch::layer_norm(x_c, weight.sizes(), weight, bias, epsilon_);
  };
  if (x.dim() == 2) return normalised(x);
  return normalised(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
}

}  // namespace bisparse::train
