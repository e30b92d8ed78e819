// SPDX-License-Identifier: Apache-2.0
// bisparse-evaluate: accuracy of a packed model on recordings or .npy samples, through the engine.
#include "apps/support/evaluation.h"
#include "apps/support/json.h"
#include "apps/support/plot.h"
#include "apps/support/program.h"
#include "apps/support/tuning.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

namespace bisparse {
namespace {

void Remark(const data::Dataset& dataset) {
  for (const auto& warning : dataset.warnings()) PrintRemark(stderr, "{}\n", warning);
  for (const auto& file : dataset.skipped()) PrintRemark(stderr, "skipped {}\n", file.reason);
  for (const auto& note : dataset.counts().notes) PrintRemark(stderr, "{}\n", note);
}

void Remark(const apps::UnknownFolder& folder) {
  for (const auto& warning : folder.warnings) PrintRemark(stderr, "{}\n", warning);
  for (const auto& reason : folder.skipped) PrintRemark(stderr, "skipped {}\n", reason);
}

/// A line for each level, a column for each model.
void SweepNoise(const std::vector<std::string>& paths, const apps::EvaluationData& data,
                const EngineOptions& options, const std::string& json, const std::string& plot) {
  auto models = nlohmann::ordered_json::array();
  apps::Panel panel{.title = "Accuracy against white noise",
                    .x_label = "a in (1 - a) A + a U[-1, 1]",
                    .y_label = "accuracy, %",
                    .series = {}};
  std::vector<apps::NoiseSweep> sweeps;
  for (const std::string& path : paths) {
    const packed::Model model = packed::ReadModel(path);
    const auto dataset = apps::OpenForModel(model, data);
    const Engine engine = EngineAccess::FromModel(model, options);
    sweeps.push_back(apps::EvaluateNoise(engine, *dataset, data.split));
    Remark(*dataset);
    models.push_back({{"model", path}});
    models.back().update(apps::NoiseJson(sweeps.back()));
    apps::Series& curve =
        panel.series.emplace_back(apps::Series{.title = model.name, .points = {}});
    for (size_t i = 0; i < sweeps.back().alphas.size(); ++i) {
      curve.points.emplace_back(sweeps.back().alphas[i], 100 * sweeps.back().accuracies[i]);
    }
  }
  if (json != "-") {
    PrintResult("{:<8}", "noise");
    for (const apps::Series& curve : panel.series) PrintResult(" {:>20}", Shown(curve.title));
    for (size_t i = 0; i < sweeps[0].alphas.size(); ++i) {
      PrintResult("\n{:<8.2f}", sweeps[0].alphas[i]);
      for (const apps::NoiseSweep& sweep : sweeps) {
        PrintResult(" {:>18.2f} %", 100 * sweep.accuracies[i]);
      }
    }
    PrintResult("\n{:<8}", "score");
    for (const apps::NoiseSweep& sweep : sweeps) PrintResult(" {:>20}", sweep.score);
    PrintResult("\n");
  }
  if (!json.empty()) apps::WriteJson({{"models", models}}, json);
  if (!plot.empty()) apps::WritePlot({panel}, plot);
}

}  // namespace
}  // namespace bisparse

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app("Accuracy, precision, recall and confusion of a packed model.", "bisparse-evaluate");
  app.footer(
      apps::Footer("bisparse-evaluate models/gsc_aligned.bisparse --data speech_commands_test "
                   "--json result.json"));
  std::vector<std::string> paths;
  std::string json, predictions, plot, unknown, mode = "auto", split = "auto";
  bool noise = false;
  apps::EvaluationData data;
  EngineOptions options{.threads = 0};
  app.add_option("MODEL", paths, "A .bisparse file; with --noise one or more")->required();
  app.add_option("--data", data.path,
                 "A test set (a folder a class), an archive of Speech Commands, or x.npy")
      ->required();
  app.add_option("--labels", data.labels, "y.npy, where --data is x.npy");
  app.add_option("--split", split,
                 "all of a folder; its test, validation or perturbed (copies of validation) split; "
                 "auto: all, unless there are lists, _background_noise_, or the model was trained "
                 "on it: then test")
      ->check(CLI::IsMember({"auto", "all", "test", "validation", "perturbed"}))
      ->capture_default_str();
  app.add_option("--mode", mode,
                 "dense, sparse_dense, sparse_sparse or auto (the best of each layer)")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Over the samples; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  CLI::Option* sweep = app.add_flag(
      "--noise", noise,
      "Accuracy against white noise: the waveform A becomes (1 - a) A + a U[-1, 1], a = 0 to 0.5");
  app.add_option("--plot", plot, "With --noise: also draw the curves to this SVG file")
      ->needs(sweep);
  app.add_option("--unknown", unknown,
                 "A folder of other words, WORD/recordings: how many are taken for a word")
      ->excludes(sweep);
  apps::TuningFlags tuning;
  app.add_option("--tune-file", tuning.file,
                 "Compute each layer as bisparse-inspect --tune found to be fastest");
  app.add_option("--json", json, "Also write the figures to this file (- = stdout, nothing else)");
  app.add_option("--predictions", predictions,
                 "Also write each sample's recording, class and predicted class to this JSON file")
      ->excludes(sweep);
  app.add_flag("--strict", data.strict, "A broken recording is an error instead of being skipped");
  return apps::RunProgram(app, argc, argv, [&] {
    for (const std::string& output : {json, predictions, plot}) apps::RequireOutput(output);
    options.mode = ParseMode(mode);
    data.part = split == "auto"  ? apps::Part::kAuto
                : split == "all" ? apps::Part::kWhole
                                 : apps::Part::kSplit;
    data.split = split == "validation"  ? data::Split::kValidation
                 : split == "perturbed" ? data::Split::kPerturbed
                                        : data::Split::kTest;
    if (noise) {
      SweepNoise(paths, data, options, json, plot);
      return 0;
    }
    if (paths.size() > 1) {
      Fail(ErrorKind::kConfiguration, "MODEL", "{} files, 1 allowed without --noise", paths.size());
    }
    const packed::Model model = packed::ReadModel(paths[0]);
    options.choices = apps::TunedChoices(model, tuning);
    const auto dataset = apps::OpenForModel(model, data);
    const Engine engine = EngineAccess::FromModel(model, options);
    std::optional<apps::UnknownFolder> others;
    if (!unknown.empty()) others = apps::ScoreUnknownFolder(engine, unknown, data.strict);
    apps::Evaluation evaluation =
        apps::Evaluate(engine, *dataset, data.split, apps::TakenWhole(model, data));
    evaluation.open_set =
        apps::OpenSetOf(evaluation.class_names, evaluation.labels, evaluation.predictions,
                        evaluation.word_scores, others ? &*others : nullptr);
    Remark(*dataset);
    if (others) Remark(*others);
    if (const std::string told = apps::MayHoldTrainingData(model, data); !told.empty()) {
      PrintRemark(stderr, "{}\n", Shown(told));
    }
    if (json != "-") PrintResult("{}: {}", Shown(paths[0]), apps::FormatEvaluation(evaluation));
    if (!json.empty()) apps::WriteJson(apps::EvaluationJson(evaluation), json);
    if (!predictions.empty()) apps::WriteJson(apps::PredictionsJson(evaluation), predictions);
    return 0;
  });
}
