// SPDX-License-Identifier: Apache-2.0
// bisparse-train: trains the network of a YAML configuration into a run folder.
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "apps/support/program.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "train/config/describe.h"
#include "train/config/load.h"
#include "train/config/print.h"
#include "train/loop/trainer.h"

namespace {

std::atomic<bool> stop_requested{false}, under_way{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // for the signal handler

/// The first signal ends the run in order; a second one, and any before the first batch is done, when there is nothing
/// to keep, ends the program at once.
void RequestStop(int) {
  if (stop_requested || !under_way) ::_exit(130);
  stop_requested = true;
}

void TuneProcess(char** argv) {
#ifdef __GLIBC__
  // Activations live for one step: keep their pages instead of returning them each time.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that it takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
  // OpenMP's threads wait by spinning, for milliseconds, and so take the cores from the data's
  // workers. The library reads its settings when it is loaded, hence the second start.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr && std::getenv("GOMP_SPINCOUNT") == nullptr) {
    ::setenv("GOMP_SPINCOUNT", "3000", 1);
    ::execv("/proc/self/exe", argv);  // if it fails, the program is slower but right
  }
}

/// Before training, where there is data: what there is of it.
void LookAtData(const bisparse::train::Config& config) {
  using bisparse::data::DatasetKind;
  const DatasetKind kind = config.data.kind;
  const std::string& path = kind == DatasetKind::kNpy      ? config.data.npy.train_x
                            : kind == DatasetKind::kImages ? config.data.images.root
                                                           : config.data.speech_commands.root;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    bisparse::train::OpenTrainingData(config, stderr);
  } else {
    bisparse::PrintRemark(stderr, "data not looked at: {} is not there\n",
                          path.empty() ? "data.path" : bisparse::Shown(path));
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace bisparse;
  TuneProcess(argv);
  CLI::App app("Trains the network of a configuration; best and last state go to a run folder.",
               "bisparse-train");
  app.footer(apps::Footer("bisparse-train configs/gsc_aligned.yaml --data speech_commands") +
             "\nCtrl-C finishes the batch and writes last.pt, as SIGTERM and a closed terminal "
             "(SIGHUP) do; "
             "--resume goes on from there.");
  std::string config_path;
  std::vector<std::string> overrides, settings;
  train::TrainOptions options{.progress = stderr, .stop = &stop_requested, .under_way = &under_way};
  bool resume = false, force = false, dry_run = false, print_config = false;
  const auto sets = [&](const std::string& flag, const std::string& key, const std::string& help,
                        bool text = false) {
    app.add_option_function<std::string>(
        flag,
        [&overrides, key, text](const std::string& value) {
          overrides.push_back(key + "=" + (text ? train::QuotedYaml(value) : value));
        },
        help + " (" + key + ")");
  };
  app.add_option("CONFIG", config_path, "A YAML file, see docs/configuration.md")->required();
  sets("--data", "data.path", "Folder of the recordings or pictures", /*text=*/true);
  sets("--test-data", "data.test_path", "Folder of the test recordings; not opened in training",
       /*text=*/true);
  app.add_option("--out", options.run_folder, "Run folder; runs/<name> by default");
  app.add_flag("--resume", resume, "Go on with the run, or begin it if there is none");
  app.add_flag("--force", force, "Delete the run that is there and begin anew")
      ->excludes("--resume");
  app.add_flag("--dry-run", dry_run, "Check, print the network's table and the data's, stop");
  app.add_flag("--print-config", print_config, "Print the configuration with every default, stop");
  apps::AddTextFlag(app, "--document-config", train::DocumentSchema,
                    "Print docs/configuration.md, the reference of all settings, stop");
  sets("--epochs", "train.epochs", "Passes over the training data");
  sets("--threads", "train.threads", "Threads of LibTorch; 0 = one per core");
  sets("--seed", "seed", "Of weights, owners and data");
  sets("--device", "train.device", "auto, cpu or cuda");
  app.add_option("--set", settings, "Any other setting, e.g. --set train.learning_rate=0.002");
  return apps::RunProgram(app, argc, argv, [&] {
    overrides.insert(overrides.end(), settings.begin(), settings.end());
    const train::Config config = train::LoadConfig(config_path, overrides);
    if (print_config) WriteShownResult(train::PrintConfig(config));
    if (dry_run) WriteShownResult(train::DescribeNetwork(config));
    if (dry_run) LookAtData(config);
    if (print_config || dry_run) return 0;
    apps::OnStopSignals(RequestStop);
    options.open = resume  ? train::OpenRun::kResume
                   : force ? train::OpenRun::kForce
                           : train::OpenRun::kNew;
    const train::TrainResult result = train::Train(config, options);
    if (!result.leads) return result.stopped ? 130 : 0;
    if (result.stopped) {
      PrintResult("stopped in epoch {} of {}; --resume goes on from there\n", result.epochs + 1,
                  config.train.epochs);
      return 130;
    }
    PrintResult(
        "{}: validation accuracy {:.2f} % in epoch {} of {}, which is kept; {:.1f} minutes\n",
        Shown(result.run_folder), 100 * result.best_accuracy, result.best_epoch + 1, result.epochs,
        result.minutes);
    PrintResult("next: bisparse-export {} -o {}\n", ShellQuoted(result.run_folder),
                ShellQuoted(config.name + ".bisparse"));
    return 0;
  });
}
