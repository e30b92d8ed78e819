// SPDX-License-Identifier: Apache-2.0
// bisparse-evaluate: how good a packed model is, through the engine: its accuracy on recordings, pictures or .npy samples, or words
// found and false alarms an hour in streams.
#include "apps/support/evaluation.h"
#include "apps/support/json.h"
#include "apps/support/noise_sweep.h"
#include "apps/support/program.h"
#include "apps/support/stream_command.h"
#include "apps/support/tuning.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

namespace bisparse {
namespace {

void Remark(const apps::UnknownFolder& folder) {
  for (const auto& warning : folder.warnings) PrintRemark(stderr, "{}\n", warning);
  for (const auto& reason : folder.skipped) PrintRemark(stderr, "skipped {}\n", reason);
}

/// Which flags belong together.
void CheckFlags(const CLI::App& app) {
  const auto given = [&](const char* flag) { return app.get_option(flag)->count() > 0; };
  const auto refuse = [](const char* flag, const char* why) {
    Fail(ErrorKind::kConfiguration, flag, "{}", why);
  };
  const bool stream = given("--stream");
  if (stream == given("--data")) {
    refuse("flags", stream ? "--data and --stream exclude each other"
                           : "--data is required (hint: or --stream, for streams with labels)");
  }
  if (given("--plot") && !given("--noise") && !stream)
    refuse("--plot", "needs --noise or --stream");
  for (const char* flag : {"--labels", "--noise", "--unknown", "--predictions", "--tune-file"}) {
    if (stream && given(flag)) refuse(flag, "is not for --stream");
  }
  for (const char* flag :
       {"--threshold", "--average-ms", "--least-ms", "--refractory-ms", "--gate-db"}) {
    if (!stream && given(flag)) refuse(flag, "needs --stream");
  }
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
  app.add_option("MODEL", paths, "A .bisparse file; with --noise or --stream one or more")
      ->required();
  app.add_option("--data", data.path,
                 "A test set (a folder a class), an archive of Speech Commands, a folder of "
                 "pictures with train/ and test/, or x.npy");
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
  app.add_option("--plot", plot, "With --noise or --stream: also draw the curves to this SVG file");
  app.add_option("--unknown", unknown,
                 "A folder of other words, WORD/recordings: how many are taken for a word")
      ->excludes(sweep);
  apps::TuningFlags tuning;
  app.add_option("--tune-file", tuning.file,
                 "Compute each layer as bisparse-inspect --tune found to be fastest")
      ->excludes(sweep);
  app.add_option("--json", json, "Also write the figures to this file (- = stdout, nothing else)");
  app.add_option("--predictions", predictions,
                 "Also write each sample's recording, class and predicted class to this JSON file")
      ->excludes(sweep);
  app.add_flag("--strict", data.strict,
               "A broken recording or picture is an error instead of being skipped");
  apps::StreamCommand streams;
  apps::AddStreamFlags(app, streams);
  return apps::RunProgram(app, argc, argv, [&] {
    CheckFlags(app);
    std::vector<apps::NamedPath> inputs = {
        {"--data", data.path}, {"--labels", data.labels}, {"--tune-file", tuning.file}};
    for (const std::string& path : streams.streams) inputs.push_back({"--stream", path});
    std::vector<apps::NamedPath> outputs = {
        {"--json", json}, {"--predictions", predictions}, {"--plot", plot}};
    // A model may be replaced by itself with other thresholds, by nothing else.
    outputs.push_back({"--output", streams.output});
    apps::RequireOutputs(outputs, inputs);
    outputs.pop_back();
    for (const std::string& path : paths) inputs.push_back({"MODEL", path});
    apps::RequireOutputs(outputs, inputs);
    options.mode = ParseMode(mode);
    data.part = split == "auto"  ? apps::Part::kAuto
                : split == "all" ? apps::Part::kWhole
                                 : apps::Part::kSplit;
    data.split = split == "validation"  ? data::Split::kValidation
                 : split == "perturbed" ? data::Split::kPerturbed
                                        : data::Split::kTest;
    if (!streams.streams.empty()) {
      apps::RunStreamCommand(paths, streams, options, json, plot);
      return 0;
    }
    if (noise) {
      apps::SweepNoise(paths, data, options, json, plot);
      return 0;
    }
    if (paths.size() > 1) {
      Fail(ErrorKind::kConfiguration, "MODEL", "{} files, 1 allowed without --noise or --stream",
           paths.size());
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
    apps::RemarkOn(*dataset);
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
