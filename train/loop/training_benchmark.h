// SPDX-License-Identifier: Apache-2.0
// Times one training step of a network three times over: with the layers' faster ways (train/nn/ways.h), with masks, and of
// its dense twin, which has no owners and ReLU in place of k-WTA. Owners are fixed, and k-WTA is as it is then.
// Read first: train/nn/ways.h. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_TRAINING_BENCHMARK_H_
#define BISPARSE_TRAIN_LOOP_TRAINING_BENCHMARK_H_

#include <cstdint>
#include <vector>

#include "train/config/config.h"
#include "train/nn/ways.h"

namespace bisparse::train {

struct TrainingBenchmarkOptions {
  int64_t batch = 0;     ///< 0: train.batch_size
  int threads = 1;       ///< LibTorch's; 0: one per core
  double seconds = 5.0;  ///< of timed steps
};

/// Medians of a step's parts: forward with the loss, backward, the optimiser with the weights' average.
struct StepTime {
  double step_ms = 0, forward_ms = 0, backward_ms = 0, optimiser_ms = 0, clips_per_second = 0;
};

struct TrainingBenchmark {
  int64_t batch = 0;
  int threads = 0, rounds = 0;
  StepTime packed, masked, dense;
  std::vector<LayerWay> layers;
};

/// The steps take turns, so that whatever else the machine does meets all three.
TrainingBenchmark BenchmarkTraining(const Config& config, const TrainingBenchmarkOptions& options);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_TRAINING_BENCHMARK_H_
