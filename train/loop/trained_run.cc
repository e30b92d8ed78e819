// SPDX-License-Identifier: Apache-2.0
// Reads a run; see trained_run.h. Tested in: loop_test.cc.
#include "train/loop/trained_run.h"

#include <filesystem>

#include "deploy/base/check.h"
#include "train/config/load.h"
#include "train/loop/checkpoint.h"
#include "train/loop/run_folder.h"

namespace bisparse::train {

TrainedRun LoadTrainedRun(const std::string& run_folder) {
  const RunPaths paths(run_folder);
  if (!std::filesystem::exists(paths.best())) {
    Fail(ErrorKind::kData, run_folder,
         "holds no best.pt (hint: give a run folder in which bisparse-train finished an epoch)");
  }
  TrainedRun run;
  run.config = LoadConfig(paths.config());
  run.network = Network(run.config.network, run.config.seed);
  const Progress progress = LoadCheckpoint(paths.best(), run.network, nullptr);
  run.epoch = progress.best_epoch;
  run.validation_accuracy = progress.best_accuracy;
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
