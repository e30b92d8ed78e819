// SPDX-License-Identifier: Apache-2.0
// Reads a run; see trained_run.h. Tested in: loop_test.cc.
#include "train/loop/trained_run.h"

#include "deploy/base/check.h"
#include "train/config/load.h"
#include "train/config/network.h"
#include "train/loop/checkpoint.h"
#include "train/loop/run_folder.h"
#include "train/loop/weight_average.h"

namespace bisparse::train {
namespace {

/// The network with the average of its weights, where the run has one.
Progress LoadLast(const std::string& path, const Config& config, Network& network) {
  WeightAverage average(network, config.train.ema_decay);
  Progress progress = LoadCheckpoint(path, network, nullptr, &average.tensors());
  if (progress.next_batch > 0 || progress.history.empty()) {
    Fail(ErrorKind::kData, path, "is from the middle of epoch {} (hint: finish the run, --resume)",
         progress.epoch + 1);
  }
  average.Adopt();
  return progress;
}

}  // namespace

TrainedRun LoadTrainedRun(const std::string& run_folder, Weights weights) {
  const RunPaths paths(run_folder);
  const std::string file = weights == Weights::kKept ? paths.best() : paths.last();
  if (!PathExists(file)) {
    Fail(ErrorKind::kData, run_folder,
         "holds no {} (hint: give a run folder in which bisparse-train finished an epoch)",
         file.substr(file.rfind('/') + 1));
  }
  TrainedRun run;
  run.config = LoadConfig(paths.config());
  run.network = Network(run.config.network, run.config.seed);
  if (weights == Weights::kKept) {
    const Progress progress = LoadCheckpoint(file, run.network, nullptr);
    run.epoch = progress.best_epoch;
    run.validation_accuracy = progress.best_accuracy;
  } else {
    const EpochMetrics last = LoadLast(file, run.config, run.network).history.back();
    run.epoch = last.epoch;
    run.validation_accuracy = last.validation_accuracy;
  }
  const std::optional<RunData> data = ReadRunData(paths.data());
  if (data && !data->mean_c.empty()) {  // else the configuration has them
    PictureInput& pictures = run.config.data.images.input;
    pictures.mean_c = data->mean_c;
    pictures.deviation_c = data->deviation_c;
  }
  run.class_names = data ? data->class_names : ClassNames(run.config.data);
  run.network->Unpack();
  run.network->eval();
  return run;
}

torch::Tensor Logits(Network& network, std::span<const float> x_bhwc, int64_t batch) {
  const Shape& shape = network->config().input;
  BISPARSE_CHECK(static_cast<int64_t>(x_bhwc.size()) == batch * shape.elements());
  torch::NoGradGuard no_grad;
  network->eval();
  const torch::Tensor x = torch::empty({batch, shape.height, shape.width, shape.channels});
  std::copy(x_bhwc.begin(), x_bhwc.end(), x.data_ptr<float>());
  return network->forward(x).contiguous();
}

}  // namespace bisparse::train
