// SPDX-License-Identifier: Apache-2.0
// A checkpoint: everything that the rest of a training depends on, so that a resumed run continues
// bit for bit (CPU).
//   network (parameters, batch norm statistics, duty cycles), optimiser, average of the weights,
//   LibTorch's CPU generator, Progress
// Data needs no state: a sample is a function of (seed, epoch, index). Schedules are functions of
// epoch and step. Files appear whole or not at all. Tested in: loop_test.cc, tests/resume_kill.
#ifndef BISPARSE_TRAIN_LOOP_CHECKPOINT_H_
#define BISPARSE_TRAIN_LOOP_CHECKPOINT_H_

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "train/nn/network.h"

namespace bisparse::train {

/// Where an epoch's wall time goes: waiting for data, the forward pass with the loss, the backward
/// pass with the optimiser's step. On CUDA, whose queue runs late, most shows in the last.
struct EpochTime {
  double total = 0, data = 0, forward = 0, backward = 0;  ///< seconds of training; no validation
};

/// One epoch's row of metrics.csv. Accuracies are fractions.
struct EpochMetrics {
  int64_t epoch = 0;  ///< 0-based
  double learning_rate = 0, train_loss = 0, train_accuracy = 0;
  double validation_loss = 0, validation_accuracy = 0;
  double validation_perturbed =
      -1.0;  ///< accuracy on the perturbed copies; negative: there are none
  /// Part of the clips of `_unknown_`, and of the words held out, that are taken for a word where 90 % of the words'
  /// clips are found (data/open_set.h); all of validation. Negative: there are none, or 90 % are never found.
  double unknown_accepted = -1.0, held_out_accepted = -1.0;
  EpochTime seconds;
  double clips_per_second = 0;
  std::vector<double> measures;  ///< of the layers, in the order of NetworkImpl::Measures
};

/// What the best epoch is chosen by, where train.keep asks for it: the mean of the accuracies on validation and on its perturbed
/// copies, where there are any.
double Score(const EpochMetrics& metrics);

/// Where a training is.
struct Progress {
  int64_t epoch = 0;       ///< the epoch to go on in
  int64_t next_batch = 0;  ///< its first batch that has not been trained on
  double loss_sum = 0;     ///< over the samples of that epoch so far
  int64_t correct = 0, samples = 0;
  EpochTime seconds;  ///< of that epoch so far
  int64_t best_epoch =
      -1;  ///< whose network best.pt holds (train.keep); a tie of Score keeps the earlier
  double best_score = -1.0;
  double best_accuracy = -1.0, best_perturbed = -1.0;  ///< on validation in that epoch; fractions
  std::vector<EpochMetrics> history;
};

/// Throws Error (kData) with nothing lost. `optimiser` null: network and progress only (best.pt).
/// `average`: the tensors of a WeightAverage.
void SaveCheckpoint(const std::string& path, const Network& network,
                    const torch::optim::Optimizer* optimiser, const Progress& progress,
                    const std::vector<torch::Tensor>& average = {});

/// Loads into a network (and an average) of the same configuration. `optimiser` null: its state and the
/// generator's stay. Throws Error (kData) for a file that is missing, damaged or of another network.
Progress LoadCheckpoint(const std::string& path, Network& network,
                        torch::optim::Optimizer* optimiser,
                        std::vector<torch::Tensor>* average = nullptr);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_CHECKPOINT_H_
