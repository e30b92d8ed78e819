// SPDX-License-Identifier: Apache-2.0
// bisparse-bench: latency and throughput of a model in each mode, of its layers, and of other
// engines beside ours (--peers; apps/peers/README.md). Takes a packed model, or a configuration:
// then weights and owners are random, and the figures are what to expect before any training.
#include <algorithm>
#include <optional>

#include "apps/peers/peer.h"
#include "apps/support/benchmark.h"
#include "apps/support/evaluation.h"
#include "apps/support/json.h"
#include "apps/support/model_source.h"
#include "apps/support/program.h"
#include "apps/support/sibling.h"
#include "apps/support/tuning.h"
#include "deploy/base/print.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app("Times a packed model, or a configuration with random weights, in each mode.",
               "bisparse-bench");
  app.footer(apps::Footer("bisparse-bench models/gsc_aligned.bisparse --threads 2 --batch 64"));
  std::string path, json, format, peer_model;
  std::vector<std::string> modes = {"dense", "sparse_dense", "sparse_sparse"};
  apps::BenchmarkOptions options;
  apps::EvaluationData data;
  apps::TuningFlags tuning;
  bool sweep = false, training = false;
  app.add_option("MODEL", path, "A .bisparse file or a CONFIG.yaml")->required();
  app.add_option("--format", format, "Numbers of a CONFIG.yaml's random weights (default: f32)")
      ->check(CLI::IsMember({"f32", "int8"}));
  app.add_option("--threads", options.threads, "Over the samples of a batch; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Samples in one call")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--mode", modes, "Modes to time, in turn")->delimiter(',')->capture_default_str();
  app.add_option(
         "--peers", options.peers,
         "Other engines on the dense network, in turn with ours: onednn, onnxruntime, eigen, "
         "libtorch (cmake/install_packages.sh --peers)")
      ->delimiter(',')
      ->check(CLI::IsMember(peers::PeerEngines()));
  app.add_option("--peer-model", peer_model,
                 "What the peers run instead of MODEL: another .bisparse file or CONFIG.yaml")
      ->needs("--peers");
  app.add_flag("--pcm", options.pcm,
               "Also time the front end, the network and both, for a clip and for a stream's hop");
  app.add_option("--seconds", options.seconds, "Timed work for each mode and peer, and for --pcm")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app.add_option("--data", data.path,
                 "Real inputs from these recordings (or x.npy) instead of random ones");
  app.add_option("--labels", data.labels, "y.npy, where --data is x.npy")->needs("--data");
  app.add_flag("--tune", tuning.tune,
               "Measure each layer's ways to be computed instead of estimating them");
  app.add_option("--tune-file", tuning.file,
                 "Where --tune keeps what it found; without --tune: read it from there");
  app.add_flag("--sweep", sweep,
               "1 and all threads, batch 1 and 64: four runs, in JSON under \"runs\"")
      ->excludes("--threads")
      ->excludes("--batch");
  app.add_flag(
      "--training", training,
      "Instead: a training step of CONFIG.yaml, packed, masked and dense (takes --threads, "
      "--batch, --seconds, --json)");
  app.add_option("--json", json, "Also write the figures to this file (- = stdout, nothing else)");
  return apps::RunProgram(app, argc, argv, [&] {
    if (training) {
      // The configuration's batch, where none is given.
      const int64_t batch = app.count("--batch") > 0 ? options.batch : 0;
      std::vector<std::string> arguments = {path, fmt::format("--threads={}", options.threads),
                                            fmt::format("--batch={}", batch),
                                            fmt::format("--seconds={}", options.seconds)};
      if (!json.empty()) arguments.push_back("--json=" + json);
      apps::BecomeSibling("bisparse-bench-training", arguments, "--training", "LibTorch");
    }
    apps::RequireOutputs({{"--json", json}, {"--tune-file", tuning.output()}},
                         {{"MODEL", path},
                          {"--peer-model", peer_model},
                          {"--data", data.path},
                          {"--labels", data.labels},
                          {"--tune-file", tuning.input()}});
    options.modes.clear();
    for (const std::string& mode : modes) options.modes.push_back(ParseMode(mode));
    const packed::Model model = apps::OpenModel(path, format);
    options.choices = apps::TunedChoices(model, tuning);
    if (!options.choices.empty() &&
        std::find(options.modes.begin(), options.modes.end(), Mode::kAuto) == options.modes.end()) {
      options.modes.push_back(Mode::kAuto);  // the one that choices are for
    }
    std::vector<float> inputs_bi = apps::RandomInputs(model.input, 256);
    if (!data.path.empty()) {
      inputs_bi = apps::SplitFeatures(*apps::OpenForModel(model, data), data.split, 256);
    }
    std::optional<packed::Model> theirs;
    if (!peer_model.empty()) {
      theirs = apps::OpenModel(peer_model, "");
      options.peer_model = &*theirs;
    }
    nlohmann::ordered_json runs = nlohmann::ordered_json::array();
    for (const auto& [threads, batch] : sweep ? apps::SweepRuns() : apps::OneRun(options)) {
      options.threads = threads;
      options.batch = batch;
      const auto result =
          apps::RunBenchmark(model, options, inputs_bi, data.path.empty() ? "random" : "real");
      if (json != "-") PrintResult("{}{}", runs.empty() ? "" : "\n", apps::FormatBenchmark(result));
      runs.push_back(apps::BenchmarkJson(result));
    }
    if (!json.empty())
      apps::WriteJson(sweep ? nlohmann::ordered_json{{"runs", runs}} : runs[0], json);
    return 0;
  });
}
