// SPDX-License-Identifier: Apache-2.0
// Checkpoints through LibTorch's archives; see checkpoint.h. Tested in: loop_test.cc.
#include "train/loop/checkpoint.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>
#include <sstream>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/mapped_file.h"
#include "train/loop/libtorch_error.h"

namespace bisparse::train {
namespace {

// 4: weights, moments and averages of layers that train packed are in the packed order. Networks of version 3, which has
// none, can be read still, for export and as teachers.
constexpr int64_t kVersion = 4, kOldestNetwork = 3;
constexpr int64_t kMetricColumns = 12;  // of EpochMetrics without measures

torch::Tensor CpuGeneratorState() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void SetCpuGeneratorState(const torch::Tensor& state) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

/// All of Progress as f64 numbers (exact below 2^53): one row of state, then [epochs][columns].
torch::Tensor StateRow(const Progress& p) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  return torch::tensor(
      {number(p.epoch), number(p.next_batch), p.loss_sum, number(p.correct), number(p.samples),
       p.seconds.total, p.seconds.data, p.seconds.forward, p.seconds.backward, number(p.best_epoch),
       p.best_score, p.best_accuracy, p.best_perturbed},
      torch::kFloat64);
}

torch::Tensor HistoryTable(const Progress& progress) {
  const int64_t epochs = static_cast<int64_t>(progress.history.size());
  const int64_t measures =
      epochs == 0 ? 0 : static_cast<int64_t>(progress.history[0].measures.size());
  torch::Tensor table = torch::zeros({epochs, kMetricColumns + measures}, torch::kFloat64);
  for (int64_t e = 0; e < epochs; ++e) {
    const EpochMetrics& m = progress.history[e];
    std::vector<double> row = {static_cast<double>(m.epoch),
                               m.learning_rate,
                               m.train_loss,
                               m.train_accuracy,
                               m.validation_loss,
                               m.validation_accuracy,
                               m.validation_perturbed,
                               m.seconds.total,
                               m.seconds.data,
                               m.seconds.forward,
                               m.seconds.backward,
                               m.clips_per_second};
    row.insert(row.end(), m.measures.begin(), m.measures.end());
    table[e].copy_(torch::tensor(row, torch::kFloat64));
  }
  return table;
}

Progress ReadProgress(const torch::Tensor& state_row, const torch::Tensor& table) {
  const double* s = state_row.data_ptr<double>();
  Progress progress{.epoch = static_cast<int64_t>(s[0]),
                    .next_batch = static_cast<int64_t>(s[1]),
                    .loss_sum = s[2],
                    .correct = static_cast<int64_t>(s[3]),
                    .samples = static_cast<int64_t>(s[4]),
                    .seconds = {s[5], s[6], s[7], s[8]},
                    .best_epoch = static_cast<int64_t>(s[9]),
                    .best_score = s[10],
                    .best_accuracy = s[11],
                    .best_perturbed = s[12]};
  for (int64_t e = 0; e < table.size(0); ++e) {
    const double* row = table.data_ptr<double>() + e * table.size(1);
    progress.history.push_back({.epoch = static_cast<int64_t>(row[0]),
                                .learning_rate = row[1],
                                .train_loss = row[2],
                                .train_accuracy = row[3],
                                .validation_loss = row[4],
                                .validation_accuracy = row[5],
                                .validation_perturbed = row[6],
                                .seconds = {row[7], row[8], row[9], row[10]},
                                .clips_per_second = row[11],
                                .measures = {row + kMetricColumns, row + table.size(1)}});
  }
  return progress;
}

/// [epochs][2]; beside the table, which earlier versions wrote without.
torch::Tensor OpenSetTable(const Progress& progress) {
  torch::Tensor table =
      torch::zeros({static_cast<int64_t>(progress.history.size()), 2}, torch::kFloat64);
  for (size_t e = 0; e < progress.history.size(); ++e) {
    const EpochMetrics& m = progress.history[e];
    table[static_cast<int64_t>(e)].copy_(
        torch::tensor({m.unknown_accepted, m.held_out_accepted}, torch::kFloat64));
  }
  return table;
}

std::string AverageKey(size_t i) { return fmt::format("average_{}", i); }

}  // namespace

double Score(const EpochMetrics& metrics) {
  if (metrics.validation_perturbed < 0.0) return metrics.validation_accuracy;
  return 0.5 * (metrics.validation_accuracy + metrics.validation_perturbed);
}

void SaveCheckpoint(const std::string& path, const Network& network,
                    const torch::optim::Optimizer* optimiser, const Progress& progress,
                    const std::vector<torch::Tensor>& average) {
  torch::serialize::OutputArchive archive, network_archive;
  archive.write("version", torch::IValue(kVersion));
  network->save(network_archive);
  archive.write("network", network_archive);
  archive.write("progress", StateRow(progress));
  archive.write("history", HistoryTable(progress));
  archive.write("open_set", OpenSetTable(progress));
  if (optimiser != nullptr) {
    torch::serialize::OutputArchive optimiser_archive;
    optimiser->save(optimiser_archive);
    archive.write("optimiser", optimiser_archive);
    archive.write("generator", CpuGeneratorState());
    for (size_t i = 0; i < average.size(); ++i) archive.write(AverageKey(i), average[i]);
  }
  std::ostringstream stream;
  archive.save_to(stream);
  WriteFileAtomically(path, stream.view());
}

Progress LoadCheckpoint(const std::string& path, Network& network,
                        torch::optim::Optimizer* optimiser, std::vector<torch::Tensor>* average) {
  const MappedFile file(path);
  try {
    torch::serialize::InputArchive archive;
    archive.load_from(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    torch::IValue version;
    archive.read("version", version);
    const int64_t oldest = optimiser == nullptr ? kOldestNetwork : kVersion;
    if (version.toInt() < oldest || version.toInt() > kVersion) {
      Fail(ErrorKind::kData, path,
           "checkpoint of version {}, this program resumes from {} (hint: finish the run with the "
           "bisparse-train that began it, or begin anew, --force; bisparse-export reads versions "
           "{} to {})",
           version.toInt(), kVersion, kOldestNetwork, kVersion);
    }
    torch::serialize::InputArchive network_archive;
    archive.read("network", network_archive);
    network->load(network_archive);
    torch::Tensor state_row, table;
    archive.read("progress", state_row);
    archive.read("history", table);
    if (optimiser != nullptr) {
      torch::serialize::InputArchive optimiser_archive;
      archive.read("optimiser", optimiser_archive);
      optimiser->load(optimiser_archive);
      torch::Tensor generator;
      archive.read("generator", generator);
      SetCpuGeneratorState(generator);
    }
    for (size_t i = 0; average != nullptr && i < average->size(); ++i) {
      torch::Tensor stored;
      archive.read(AverageKey(i), stored);
      (*average)[i].set_data(stored);  // packed ones have another shape
    }
    Progress progress = ReadProgress(state_row, table.contiguous());
    if (torch::Tensor open_set; archive.try_read("open_set", open_set)) {
      for (size_t e = 0; e < progress.history.size(); ++e) {
        const torch::Tensor row = open_set[static_cast<int64_t>(e)];
        progress.history[e].unknown_accepted = row[0].item<double>();
        progress.history[e].held_out_accepted = row[1].item<double>();
      }
    }
    return progress;
  } catch (const c10::Error& error) {
    Fail(ErrorKind::kData, path, "is damaged or of another network: {}", FirstLine(error));
  }
}

}  // namespace bisparse::train
