// SPDX-License-Identifier: Apache-2.0
// bisparse-evaluate: accuracy of a packed model on recordings or .npy samples, through the engine.
#include <fmt/format.h>

#include "apps/support/evaluation.h"
#include "apps/support/program.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app("Accuracy, precision, recall and confusion of a packed model.", "bisparse-evaluate");
  app.footer(
      apps::Footer("bisparse-evaluate models/gsc_aligned.bisparse --data speech_commands_test "
                   "--json result.json"));
  std::string path, json, mode = "auto", split = "test";
  apps::EvaluationData data;
  EngineOptions options{.threads = 0};
  app.add_option("MODEL", path, "A .bisparse file")->required();
  app.add_option("--data", data.path,
                 "A test set (a folder a class, taken whole; known by _silence_ or _unknown_), an "
                 "archive of Speech Commands, or x.npy")
      ->required();
  app.add_option("--labels", data.labels, "y.npy, where --data is x.npy");
  app.add_option("--split", split,
                 "Split of an archive: test, validation or perturbed (copies of validation)")
      ->check(CLI::IsMember({"test", "validation", "perturbed"}))
      ->capture_default_str();
  app.add_option("--mode", mode,
                 "dense, sparse_dense, sparse_sparse or auto (the best of each layer)")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Over the samples; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--json", json, "Also write the figures to this file (- = stdout, nothing else)");
  app.add_flag("--strict", data.strict, "A broken recording is an error instead of being skipped");
  return apps::RunProgram(app, argc, argv, [&] {
    options.mode = ParseMode(mode);
    data.split = split == "test"         ? data::Split::kTest
                 : split == "validation" ? data::Split::kValidation
                                         : data::Split::kPerturbed;
    const packed::Model model = packed::ReadModel(path);
    const auto dataset = apps::OpenForModel(model, data);
    const Engine engine = EngineAccess::FromModel(model, options);
    const apps::Evaluation evaluation = apps::Evaluate(engine, *dataset, data.split);
    for (const auto& warning : dataset->warnings()) fmt::print(stderr, "{}\n", warning);
    for (const auto& file : dataset->skipped()) fmt::print(stderr, "skipped {}\n", file.reason);
    if (json != "-") fmt::print("{}: {}", path, apps::FormatEvaluation(evaluation));
    if (!json.empty()) apps::WriteJson(apps::EvaluationJson(evaluation), json);
    return 0;
  });
}
