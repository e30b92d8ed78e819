// SPDX-License-Identifier: Apache-2.0
// The optimiser of a configuration: SGD or AdamW over two groups of parameters. Weight decay
// applies to the weights of conv2d and linear layers only, not to biases and batch norm. Tested in:
// loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_OPTIMISER_H_
#define BISPARSE_TRAIN_LOOP_OPTIMISER_H_

#include <torch/torch.h>

#include <functional>
#include <memory>

#include "train/config/config.h"
#include "train/nn/network.h"

namespace bisparse::train {

std::unique_ptr<torch::optim::Optimizer> MakeOptimiser(const TrainConfig& config,
                                                       const NetworkImpl& network);

/// Replaces the moments of a parameter, where it has any yet, by what `change` makes of them.
void ChangeMoments(torch::optim::Optimizer& optimiser, const torch::Tensor& parameter,
                   const std::function<torch::Tensor(const torch::Tensor&)>& change);

void SetLearningRate(torch::optim::Optimizer& optimiser, double learning_rate);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_OPTIMISER_H_
