// SPDX-License-Identifier: Apache-2.0
// An exponential moving average of the weights over the optimiser's steps (Polyak averaging):
//   average ← d·average + (1 − d)·weights,  d = min(decay, (1 + step) / (10 + step))
// of all parameters and of batch norm's running statistics. The rising d lets the first steps go
// soon. Owners, masks and duty cycles are the network's own. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_WEIGHT_AVERAGE_H_
#define BISPARSE_TRAIN_LOOP_WEIGHT_AVERAGE_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "train/nn/network.h"

namespace bisparse::train {

class WeightAverage {
 public:
  /// Begins at the network's weights. decay 0: no average, everything below does nothing. The
  /// network's tensors must stay where they are (no to(device) after this).
  WeightAverage(const Network& network, double decay);

  /// After optimiser step `step`, from 0.
  void Update(int64_t step);

  /// Replaces a parameter's average by what `change` makes of it.
  void Change(const torch::Tensor& parameter,
              const std::function<torch::Tensor(const torch::Tensor&)>& change);

  /// Puts the averages into the network, and what was there back when it goes.
  class InPlace {
   public:
    explicit InPlace(WeightAverage& average) : average_(average) { average_.Swap(); }
    ~InPlace() { average_.Swap(); }
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;

   private:
    WeightAverage& average_;
  };

  /// Puts the averages into the network for good.
  void Adopt();

  /// For checkpoints; empty without an average.
  std::vector<torch::Tensor>& tensors() { return averages_; }
  const std::vector<torch::Tensor>& tensors() const { return averages_; }

 private:
  void Swap();

  double decay_;
  std::vector<torch::Tensor> weights_, averages_;  ///< the network's and ours, in one order
};

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_WEIGHT_AVERAGE_H_
