// SPDX-License-Identifier: Apache-2.0
// Read first: weight_average.h. Tested in: loop_test.cc.
#include "train/loop/weight_average.h"

#include <algorithm>

namespace bisparse::train {

WeightAverage::WeightAverage(const Network& network, double decay) : decay_(decay) {
  if (decay == 0.0) return;
  const torch::NoGradGuard no_grad;
  weights_ = network->parameters();
  for (const auto& buffer : network->named_buffers()) {
    if (buffer.key().ends_with("running_mean") || buffer.key().ends_with("running_var")) {
      weights_.push_back(buffer.value());
    }
  }
  for (const torch::Tensor& weight : weights_) averages_.push_back(weight.detach().clone());
}

void WeightAverage::Update(int64_t step) {
  const torch::NoGradGuard no_grad;
  const double at = static_cast<double>(step), decay = std::min(decay_, (1.0 + at) / (10.0 + at));
  for (size_t i = 0; i < weights_.size(); ++i) averages_[i].lerp_(weights_[i], 1.0 - decay);
}

void WeightAverage::Change(const torch::Tensor& parameter,
                           const std::function<torch::Tensor(const torch::Tensor&)>& change) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i].is_same(parameter)) averages_[i] = change(averages_[i]);
  }
}

void WeightAverage::Adopt() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i].copy_(averages_[i]);
}

void WeightAverage::Swap() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const torch::Tensor weight = weights_[i].clone();
    weights_[i].copy_(averages_[i]);
    averages_[i].copy_(weight);
  }
}

}  // namespace bisparse::train
