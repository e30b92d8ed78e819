// SPDX-License-Identifier: Apache-2.0
// Read first: training_benchmark.h. Tested in: loop_test.cc.
#include "train/loop/training_benchmark.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "deploy/base/cores.h"
#include "train/loop/optimiser.h"
#include "train/loop/weight_average.h"
#include "train/nn/network.h"

namespace bisparse::train {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsBetween(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - start).count();
}

NetworkConfig WithFixedOwners(NetworkConfig network) {
  for (LayerConfig& layer : network.layers) layer.packing.owners = OwnerRule::kStatic;
  return network;
}

NetworkConfig DenseTwin(NetworkConfig network) {
  for (LayerConfig& layer : network.layers) {
    layer.packing = {};
    if (layer.kind == LayerKind::kKwta) layer.kind = LayerKind::kRelu;
  }
  return network;
}

/// A network with all that a step moves.
class Trained {
 public:
  Trained(const Config& config, const NetworkConfig& layers, const std::vector<LayerWay>& ways)
      : network_(layers, config.seed) {
    network_->SetWays(ways);
    network_->PackFixedOwners(1.0, {});
    // Owners freeze after this part of the training by default.
    const auto epoch = static_cast<int32_t>(std::ceil(0.6 * config.train.epochs));
    network_->SetEpoch(std::min(epoch, config.train.epochs - 1), config.train.epochs);
    network_->train();
    optimiser_ = MakeOptimiser(config.train, *network_);
    average_ = std::make_unique<WeightAverage>(network_, config.train.ema_decay);
  }

  void Step(const torch::Tensor& x_bhwc, const torch::Tensor& y_b) {
    const Clock::time_point start = Clock::now();
    optimiser_->zero_grad();
    const torch::Tensor loss = torch::cross_entropy_loss(network_->forward(x_bhwc), y_b);
    const Clock::time_point after_forward = Clock::now();
    loss.backward();
    const Clock::time_point after_backward = Clock::now();
    optimiser_->step();
    average_->Update(step_);
    const Clock::time_point end = Clock::now();
    // The first steps allocate.
    if (step_++ < 2) return;
    forward_.push_back(MillisecondsBetween(start, after_forward));
    backward_.push_back(MillisecondsBetween(after_forward, after_backward));
    optimiser_ms_.push_back(MillisecondsBetween(after_backward, end));
    step_ms_.push_back(MillisecondsBetween(start, end));
  }

  StepTime Medians(int64_t batch) {
    const auto median = [](std::vector<double>& values) {
      const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
      std::nth_element(values.begin(), middle, values.end());
      return *middle;
    };
    StepTime time{median(step_ms_), median(forward_), median(backward_), median(optimiser_ms_), 0};
    time.clips_per_second = 1e3 * static_cast<double>(batch) / time.step_ms;
    return time;
  }

 private:
  Network network_;
  std::unique_ptr<torch::optim::Optimizer> optimiser_;
  std::unique_ptr<WeightAverage> average_;
  int64_t step_ = 0;
  std::vector<double> step_ms_, forward_, backward_, optimiser_ms_;
};

}  // namespace

TrainingBenchmark BenchmarkTraining(const Config& config, const TrainingBenchmarkOptions& options) {
  at::set_num_threads(options.threads > 0 ? options.threads : UsableCores());
  at::globalContext().setFlushDenormal(true);
  torch::manual_seed(config.seed);
  TrainingBenchmark result{.batch = options.batch > 0 ? options.batch : config.train.batch_size,
                           .threads = at::get_num_threads()};
  const NetworkConfig sparse = WithFixedOwners(config.network);
  result.layers = TimeWays(sparse, config.train.optimiser, result.batch, /*with_dense=*/true, {});
  Trained packed(config, sparse, result.layers), masked(config, sparse, {}),
      dense(config, DenseTwin(config.network), {});
  const Shape& shape = config.network.input;
  const torch::Tensor x_bhwc =
      torch::randn({result.batch, shape.height, shape.width, shape.channels});
  const torch::Tensor y_b =
      torch::randint(config.network.class_count, {result.batch}, torch::kInt64);
  constexpr int kLeastRounds = 5;
  const Clock::time_point start = Clock::now();
  for (; result.rounds < kLeastRounds + 2 ||
         MillisecondsBetween(start, Clock::now()) < 1e3 * options.seconds;
       ++result.rounds) {
    for (Trained* of : {&packed, &masked, &dense}) of->Step(x_bhwc, y_b);
  }
  result.packed = packed.Medians(result.batch);
  result.masked = masked.Medians(result.batch);
  result.dense = dense.Medians(result.batch);
  return result;
}

}  // namespace bisparse::train
