// SPDX-License-Identifier: Apache-2.0
// Trains the network of a configuration into a run folder; see run_folder.h for what is in it.
//
//   Train(LoadConfig("configs/gsc_dense.yaml"), {.progress = stderr});
//
// best.pt holds the network of the epoch that train.keep says: the last one, or the best on validation, clean and
// perturbed (Score). Test data is not opened. On the CPU, with the same number of threads, a run that was stopped or
// killed anywhere and resumed gives the same bits as one that was not.
// Read first: trainer.cc (one epoch in reading order). Tested in: loop_test.cc, tests/resume_kill, tests/signature.
#ifndef BISPARSE_TRAIN_LOOP_TRAINER_H_
#define BISPARSE_TRAIN_LOOP_TRAINER_H_

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "train/config/config.h"
#include "train/loop/run_folder.h"

namespace bisparse::train {

struct TrainOptions {
  std::string run_folder;  ///< empty: <train.runs>/<name>
  OpenRun open = OpenRun::kNew;
  std::FILE* progress = nullptr;  ///< progress bars and remarks; null: silent
  /// Set from a signal handler: the batch is finished, last.pt written, Train returns.
  const std::atomic<bool>* stop = nullptr;
  /// Becomes true with the first batch that is done: from then on a stop has something to keep.
  std::atomic<bool>* under_way = nullptr;
  double checkpoint_seconds = 300;  ///< in mid-epoch, besides the one at each epoch's end
};

struct TrainResult {
  std::string run_folder;
  bool stopped = false;         ///< by `stop`: resume to go on
  int64_t epochs = 0;           ///< trained, earlier sessions of the run included
  int64_t best_epoch = -1;      ///< the one that is kept, 0-based
  double best_accuracy = -1.0;  ///< its validation accuracy, fraction
  double minutes = 0;
  bool leads = true;  ///< of several processes the one that writes the run's files
};

/// Opens the training and validation data and trains; with others where the environment says so
/// (train/parallel/process_group.h): batch_size is then the joint batch of all processes. Throws Error: kConfiguration,
/// or kData for files, a full disk, a second trainer. A loss that is not finite is an error too, with epoch, step and
/// layer; the last checkpoint stays as it was.
TrainResult Train(const Config& config, const TrainOptions& options);

/// Opens training and validation data; shows its progress, the table of samples and the data set's
/// warnings on `progress`, unless that is null.
/// Decoded pictures are kept in `cache_folder`; empty: in memory.
std::unique_ptr<data::Dataset> OpenTrainingData(const Config& config, std::FILE* progress,
                                                const std::string& cache_folder = "");

/// The same as the first Train on a data set that is open.
TrainResult Train(const Config& config, const data::Dataset& dataset, const TrainOptions& options);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_TRAINER_H_
