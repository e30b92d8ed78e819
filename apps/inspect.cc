// SPDX-License-Identifier: Apache-2.0
// bisparse-inspect: what is in a packed model, and what the engine would do with it, or with a
// configuration that nobody has trained yet; its sets and its graph as pictures; the training curves
// of runs.
#include <unistd.h>

#include "apps/support/curves.h"
#include "apps/support/graph_picture.h"
#include "apps/support/inspection.h"
#include "apps/support/json.h"
#include "apps/support/model_source.h"
#include "apps/support/picture.h"
#include "apps/support/plan_report.h"
#include "apps/support/plot.h"
#include "apps/support/program.h"
#include "apps/support/tuning.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/print.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app("Shows a packed model: layers, sets, densities, winners, bytes, provenance.",
               "bisparse-inspect");
  app.footer(apps::Footer("bisparse-inspect models/gsc_aligned.bisparse"));
  std::vector<std::string> paths;
  std::string picture, layer, curves, graph, json, format;
  apps::TuningFlags tuning;
  bool plan = false, config = false;
  app.add_option("MODEL", paths,
                 "A .bisparse file, or a CONFIG.yaml with random weights; with --plot run folders, "
                 "one or more")
      ->required();
  CLI::Option* plans = app.add_flag(
      "--plan", plan,
      "Also the plan on this machine: each layer's kernel and why, work, bytes, expected time");
  CLI::Option* tune = app.add_flag(
      "--tune", tuning.tune, "Measure each layer's ways to be computed instead of estimating them");
  CLI::Option* tune_file =
      app.add_option("--tune-file", tuning.file,
                     "Where --tune keeps what it found; without --tune: read it from there");
  CLI::Option* figures =
      app.add_option("--json", json, "Also write the plan to this file (- = stdout, nothing else)");
  app.add_option("--format", format, "Numbers of a CONFIG.yaml's random weights (default: f32)")
      ->check(CLI::IsMember({"f32", "int8"}));
  CLI::Option* configuration =
      app.add_flag("--config", config, "Only the configuration that the model was trained with");
  CLI::Option* draw = app.add_option("--picture", picture,
                                     "Only draw a layer's complementary sets to this SVG file");
  app.add_option("--layer", layer, "The layer of --picture; the first packed one by default")
      ->needs(draw);
  CLI::Option* plot = app.add_option(
      "--plot", curves, "Only draw the training curves of run folders to this SVG file");
  CLI::Option* layers =
      app.add_option("--graph", graph, "Only draw the layers and who reads them to this SVG file");
  const std::vector<CLI::Option*> only = {configuration, draw, plot, layers};
  for (size_t i = 0; i < only.size(); ++i) {
    for (size_t k = 0; k < i; ++k) only[i]->excludes(only[k]);
    for (CLI::Option* other : {plans, tune, tune_file, figures}) only[i]->excludes(other);
  }
  return apps::RunProgram(app, argc, argv, [&] {
    std::vector<apps::NamedPath> inputs = {{"--tune-file", tuning.input()}};
    for (const std::string& path : paths) inputs.push_back({"MODEL", path});
    apps::RequireOutputs({{"--json", json},
                          {"--picture", picture},
                          {"--plot", curves},
                          {"--graph", graph},
                          {"--tune-file", tuning.output()}},
                         inputs);
    if (!curves.empty()) {
      apps::WritePlot(apps::TrainingCurves(paths), curves);
      return 0;
    }
    if (paths.size() > 1) {
      Fail(ErrorKind::kConfiguration, "MODEL", "{} files, 1 allowed without --plot", paths.size());
    }
    const packed::Model model = apps::OpenModel(paths[0], format);
    if (!picture.empty()) {
      WriteFileAtomically(picture, apps::PictureOfSets(apps::FindPackedLayer(model, layer)));
      return 0;
    }
    if (!graph.empty()) {
      apps::WriteGraph(model, graph);
      return 0;
    }
    if (config) {
      // Byte by byte for a file; shown as it may be on a terminal.
      const std::string& text = model.provenance.config_text;
      ::isatty(STDOUT_FILENO) == 1 ? WriteShownResult(text) : WriteResult(text);
      return 0;
    }
    plan = plan || tuning.tune || !tuning.file.empty();
    if (!plan && json.empty()) {
      PrintResult("{}\n{}", apps::FormatSummary(model), apps::FormatLayers(model));
      return 0;
    }
    const apps::PlanReport report =
        apps::ReportPlan(model, {.choices = apps::TunedChoices(model, tuning)});
    if (json != "-") {
      PrintResult("{}\n{}", apps::FormatSummary(model), apps::FormatLayers(model));
      if (plan) PrintResult("\n{}", apps::FormatPlan(report));
    }
    if (!json.empty()) apps::WriteJson(apps::PlanJson(report), json);
    return 0;
  });
}
