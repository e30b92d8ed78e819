// SPDX-License-Identifier: Apache-2.0
// Read first: stream_command.h.
#include "apps/support/stream_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "apps/support/json.h"
#include "apps/support/plot.h"
#include "apps/support/program.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

namespace bisparse::apps {
namespace {

/// Averages that are tried where none is asked for.
constexpr double kAveragesMs[] = {100, 200, 300, 450};

std::string DetectionText(const DetectionOptions& detection) {
  std::string text =
      fmt::format("average {:g} ms, threshold {:g}", detection.average_ms, detection.threshold);
  for (const WordThreshold& word : detection.words)
    text += fmt::format(", {} {:g}", Shown(word.word), word.threshold);
  return text;
}

bool AnyPoint(const Panel& panel, double x_max) {
  return std::any_of(panel.series.begin(), panel.series.end(), [&](const Series& series) {
    return std::any_of(series.points.begin(), series.points.end(),
                       [&](const auto& point) { return point.first <= x_max; });
  });
}

void Choose(packed::Model& model, const Engine& engine, const StreamCommand& command,
            StreamEvaluationOptions& options, std::span<const HeardStream> streams) {
  const bool fixed = command.detection.average->count() > 0;
  options.detection = ChooseDetection(
      engine, options, fixed ? std::span<const double>() : std::span(kAveragesMs), streams);
  model.detection = options.detection;
  packed::WriteModel(model, command.output);
}

}  // namespace

void AddStreamFlags(CLI::App& app, StreamCommand& command) {
  CLI::Option* const stream =
      app.add_option("--stream", command.streams,
                     "Recordings with labels beside them (talk.txt of talk.wav): words found and "
                     "missed, false alarms an hour");
  app.add_option("--tolerance-ms", command.options.tolerance_ms,
                 "An event finds a word if it comes no later than this after the word's end")
      ->check(CLI::Range(0.0, 60e3))
      ->needs(stream)
      ->capture_default_str();
  app.add_option("--hop-frames", command.options.stream.hop_frames,
                 "Frames of the front end from one window to the next")
      ->check(CLI::Range(1, 1 << 20))
      ->needs(stream)
      ->capture_default_str();
  app.add_option("--fa-per-hour", command.options.fa_per_hour,
                 "The most false alarms an hour that are allowed")
      ->check(CLI::Range(0.0, 1e6))
      ->needs(stream)
      ->capture_default_str();
  AddDetectionFlags(app, command.detection);
  CLI::Option* const choose = app.add_flag(
      "--choose-thresholds", command.choose,
      "Choose each word's threshold, and the average, for the fewest misses at --fa-per-hour");
  CLI::Option* const output =
      app.add_option("-o,--output", command.output, "The model with what was chosen");
  choose->needs(stream)->needs(output);
  output->needs(choose);
}

void RunStreamCommand(const std::vector<std::string>& models, const StreamCommand& command,
                      const EngineOptions& engine_options, const std::string& json,
                      const std::string& plot) {
  if (command.choose && models.size() > 1) {
    Fail(ErrorKind::kConfiguration, "MODEL", "{} files, 1 allowed with --choose-thresholds",
         models.size());
  }
  auto of_models = nlohmann::ordered_json::array();
  Panel panel{.title = "Missed words against false alarms",
              .x_label = "false alarms an hour",
              .y_label = "missed words, %",
              .series = {},
              .x_max = 5 * command.options.fa_per_hour};
  for (const std::string& path : models) {
    packed::Model model = packed::ReadModel(path);
    const Engine engine = EngineAccess::FromModel(model, engine_options);
    StreamEvaluationOptions options = command.options;
    options.detection = WithFlags(engine.detection(), command.detection);
    // Throws for a model without words before it listens for an hour.
    const Detector checked(engine, options.stream, options.detection);
    std::vector<HeardStream> streams;
    for (const std::string& stream : command.streams)
      streams.push_back(HearStream(engine, options.stream, stream));
    if (command.choose) Choose(model, engine, command, options, streams);
    const StreamEvaluation evaluation = EvaluateStreams(engine, options, streams);
    if (!evaluation.other_labels.empty()) {
      PrintRemark(stderr, "{}: labels that are no words of the model: {}\n", Shown(path),
                  Shown(fmt::format("{}", fmt::join(evaluation.other_labels, ", "))));
    }
    if (json != "-") {
      PrintResult("{}: {}", Shown(path), FormatStreamEvaluation(evaluation, options));
      if (command.choose) {
        PrintResult("wrote {}: {}\n", Shown(command.output), DetectionText(options.detection));
      }
    }
    of_models.push_back({{"model", path}});
    of_models.back().update(StreamEvaluationJson(evaluation, options));
    Series& series = panel.series.emplace_back(Series{.title = path, .points = {}});
    for (const StreamPoint& point : evaluation.curve)
      series.points.emplace_back(point.fa_per_hour, 100 * point.misses);
  }
  const nlohmann::ordered_json all = {{"streams", command.streams},
                                      {"tolerance_ms", command.options.tolerance_ms},
                                      {"hop_frames", command.options.stream.hop_frames},
                                      {"models", of_models}};
  if (!json.empty()) WriteJson(all, json);
  if (plot.empty()) return;
  if (!AnyPoint(panel, panel.x_max)) panel.x_max = 0;
  if (!AnyPoint(panel, HUGE_VAL)) {
    Fail(ErrorKind::kData, plot, "is not drawn: no label of the streams is a word of a model");
  }
  WritePlot({panel}, plot);
}

}  // namespace bisparse::apps
