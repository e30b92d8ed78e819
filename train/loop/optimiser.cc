// SPDX-License-Identifier: Apache-2.0
// SGD and AdamW; see optimiser.h. Tested in: loop_test.cc.
#include "train/loop/optimiser.h"

namespace bisparse::train {
namespace {

/// Options of the group that is decayed (decay = weight_decay) or of the others (0).
std::unique_ptr<torch::optim::OptimizerOptions> GroupOptions(const TrainConfig& config,
                                                             double decay) {
  const OptimiserConfig& optimiser = config.optimiser;
  if (optimiser.kind == OptimiserKind::kSgd) {
    auto options = torch::optim::SGDOptions(config.learning_rate)
                       .momentum(optimiser.momentum)
                       .nesterov(optimiser.nesterov)
                       .weight_decay(decay);
    return std::make_unique<torch::optim::SGDOptions>(options);
  }
  auto options = torch::optim::AdamWOptions(config.learning_rate)
                     .betas({optimiser.beta1, optimiser.beta2})
                     .eps(optimiser.epsilon)
                     .weight_decay(decay);
  return std::make_unique<torch::optim::AdamWOptions>(options);
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> MakeOptimiser(const TrainConfig& config,
                                                       const NetworkImpl& network) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(network.DecayedParameters(), GroupOptions(config, config.weight_decay));
  const std::vector<torch::Tensor> others = network.OtherParameters();
  if (!others.empty()) groups.emplace_back(others, GroupOptions(config, 0.0));
  if (config.optimiser.kind == OptimiserKind::kSgd) {
    return std::make_unique<torch::optim::SGD>(
        groups, torch::optim::SGDOptions(config.learning_rate).nesterov(false));
  }
  return std::make_unique<torch::optim::AdamW>(groups,
                                               torch::optim::AdamWOptions(config.learning_rate));
}

void ChangeMoments(torch::optim::Optimizer& optimiser, const torch::Tensor& parameter,
                   const std::function<torch::Tensor(const torch::Tensor&)>& change) {
  const auto found = optimiser.state().find(c10::guts::to_string(parameter.unsafeGetTensorImpl()));
  if (found == optimiser.state().end()) return;
  if (auto* adamw = dynamic_cast<torch::optim::AdamWParamState*>(found->second.get())) {
    adamw->exp_avg(change(adamw->exp_avg()));
    adamw->exp_avg_sq(change(adamw->exp_avg_sq()));
  } else if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(found->second.get())) {
    if (sgd->momentum_buffer().defined()) sgd->momentum_buffer(change(sgd->momentum_buffer()));
  }
}

void SetLearningRate(torch::optim::Optimizer& optimiser, double learning_rate) {
  for (torch::optim::OptimizerParamGroup& group : optimiser.param_groups()) {
    group.options().set_lr(learning_rate);
  }
}

}  // namespace bisparse::train
