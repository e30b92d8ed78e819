// SPDX-License-Identifier: Apache-2.0
// Read first: batch_norm.h. Tested in: network_test.cc.
#include "train/nn/batch_norm.h"

#include "train/nn/norm_pool.h"

namespace bisparse::train {

namespace F = torch::nn::functional;

BatchNormImpl::BatchNormImpl(const LayerConfig& config)
    : momentum_(config.momentum), epsilon_(config.epsilon) {
  const int64_t channels = config.input.channels;
  const auto learned = [&](const torch::Tensor& initial) {
    return config.affine ? initial : torch::Tensor();
  };
  weight = register_parameter("weight", learned(torch::ones({channels})), config.affine);
  bias = register_parameter("bias", learned(torch::zeros({channels})), config.affine);
  running_mean = register_buffer("running_mean", torch::zeros({channels}));
  running_var = register_buffer("running_var", torch::ones({channels}));
  num_batches_tracked = register_buffer("num_batches_tracked", torch::tensor(0, torch::kInt64));
}

torch::Tensor BatchNormImpl::forward(const torch::Tensor& x) {
  if (is_training()) num_batches_tracked += 1;
  if (group_ != nullptr && is_training()) {
    return JointBatchNorm(x, weight, bias, running_mean, running_var, momentum_, epsilon_, *group_);
  }
  return F::batch_norm(x, running_mean, running_var,
                       F::BatchNormFuncOptions()
                           .weight(weight)
                           .bias(bias)
                           .training(is_training())
                           .momentum(momentum_)
                           .eps(epsilon_));
}

bool BatchNormImpl::CanUseKernels(const torch::Tensor& x) const {
  return is_training() && group_ == nullptr && x.is_cpu() && x.scalar_type() == torch::kFloat32 &&
         x.numel() > x.size(1);  // LibTorch has the words for a single value
}

torch::Tensor BatchNormImpl::ForwardByKernels(const torch::Tensor& x, const packed::Window* pool) {
  num_batches_tracked += 1;
  return NormPool(x, {weight, bias, running_mean, running_var, momentum_, epsilon_}, pool);
}

}  // namespace bisparse::train
