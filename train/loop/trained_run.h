// SPDX-License-Identifier: Apache-2.0
// A run that was trained, for the exporter: its configuration and a network of it. Tested in:
// loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_TRAINED_RUN_H_
#define BISPARSE_TRAIN_LOOP_TRAINED_RUN_H_

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/nn/network.h"

namespace bisparse::train {

struct TrainedRun {
  Config config;                      ///< of pictures with the means and deviations of its data
  Network network{nullptr};           ///< on the CPU, in evaluation mode
  int64_t epoch = -1;                 ///< 0-based epoch whose weights these are
  double validation_accuracy = -1.0;  ///< fraction
  std::vector<std::string>
      class_names;  ///< of its data; empty: an older run whose configuration lists none
};

enum class Weights : uint8_t {
  kKept,  ///< best.pt: those that the run chose (train.keep)
  kLast,  ///< last.pt: the average of the weights (train.ema_decay) after the last epoch
};

/// Reads config.yaml and best.pt or last.pt of a run folder. Throws Error (kData) where they are
/// missing, damaged, or last.pt is from the middle of an epoch.
TrainedRun LoadTrainedRun(const std::string& run_folder, Weights weights = Weights::kKept);

/// Logits [batch][classes] of `batch` samples back to back, channels last. Evaluation mode, no
/// gradients.
torch::Tensor Logits(Network& network, std::span<const float> x_bhwc, int64_t batch);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_TRAINED_RUN_H_
