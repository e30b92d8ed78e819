// SPDX-License-Identifier: Apache-2.0
// The folder of a run, and who may write to it.
//   runs/<name>/ config.yaml   the configuration with every default
//                data.json     classes and samples that it was begun with (run_data.h)
//                metrics.csv   one row an epoch: losses, accuracies, throughput and where the time goes
//                last.pt       to resume from (last epoch, or in mid-epoch after a signal)
//                best.pt       the network of the epoch that train.keep says
//                log/kernels.json   which way each layer trains, and what both took (train.kernels: auto)
//                log/summary.json   epoch kept, accuracy, seed, minutes, code and teachers, non-zeros, skipped clips
//                lock          held by the trainer that is working on the run
// Nothing is replaced or deleted that the program did not write. A folder is a run's if its config.yaml begins with a
// line that says so and holds the checksum of the rest. Only then may the other names be replaced. A run whose
// config.yaml its user has changed can be resumed, if the settings agree; the file stays as it is.
// Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_RUN_FOLDER_H_
#define BISPARSE_TRAIN_LOOP_RUN_FOLDER_H_

#include <string>
#include <vector>

#include "deploy/base/file.h"
#include "train/config/config.h"
#include "train/loop/run_data.h"

namespace bisparse::train {

/// Paths inside a run.
struct RunPaths {
  explicit RunPaths(const std::string& run_folder) : folder(run_folder) {}
  std::string folder;
  std::string config() const { return folder + "/config.yaml"; }
  std::string data() const { return folder + "/data.json"; }
  std::string metrics() const { return folder + "/metrics.csv"; }
  std::string last() const { return folder + "/last.pt"; }
  std::string best() const { return folder + "/best.pt"; }
  std::string summary() const { return folder + "/log/summary.json"; }
  std::string kernels() const { return folder + "/log/kernels.json"; }
  std::string lock() const { return folder + "/lock"; }
};

/// What to do with a run that exists.
/// kFollow: another process leads the run; nothing is checked, locked or written here.
enum class OpenRun { kNew, kResume, kForce, kFollow };

/// A run that this process holds. The lock goes with the process, however that ends.
class RunFolder {
 public:
  /// Makes the folder, takes the lock. kResume of a run that does not exist begins it. Throws Error (kConfiguration)
  /// if the run exists (kNew), if its configuration differs in what matters (kResume), or if a file is in the way that
  /// no trainer wrote. Throws Error (kData) if another trainer holds the run or it can't be written to.
  RunFolder(const std::string& folder, const Config& config, OpenRun open);

  /// Writes config.yaml and data.json, with kForce after deleting the files of the run that was
  /// there: called when the data are open and nothing but training is left to fail. Throws Error
  /// (kConfiguration) with kResume if the run was begun with other data.
  void Begin(const RunData& data) const;

  const RunPaths& paths() const { return paths_; }

 private:
  RunPaths paths_;
  std::string printed_config_;
  OpenRun open_;
  FileDescriptor lock_{-1};
  bool keep_config_ = false;  ///< the user has changed it
};

/// Whether there is something at `path`. Throws Error (kData) where that cannot be told: a folder
/// that may not be entered, a name that is too long.
bool PathExists(const std::string& path);

/// The folder that a run's folder lies in: "runs/" of "runs/a", "." of "a".
std::string FolderOfRun(const std::string& run);

/// Settings in which two printed configurations differ, as "train.learning_rate: 0.001 in the run,
/// 0.002 now"; left out is what does not change the result: device, threads, workers, folders and
/// paths of data.
std::vector<std::string> DifferingSettings(const std::string& run_yaml,
                                           const std::string& now_yaml);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_RUN_FOLDER_H_
