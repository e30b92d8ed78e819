// SPDX-License-Identifier: Apache-2.0
// Read first: noise_sweep.h.
#include "apps/support/noise_sweep.h"

#include "apps/support/json.h"
#include "apps/support/plot.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

namespace bisparse::apps {

void RemarkOn(const data::Dataset& dataset) {
  for (const auto& warning : dataset.warnings()) PrintRemark(stderr, "{}\n", warning);
  for (const auto& file : dataset.skipped()) PrintRemark(stderr, "skipped {}\n", file.reason);
  for (const auto& note : dataset.counts().notes) PrintRemark(stderr, "{}\n", note);
}

void SweepNoise(const std::vector<std::string>& paths, const EvaluationData& data,
                const EngineOptions& options, const std::string& json, const std::string& plot) {
  auto models = nlohmann::ordered_json::array();
  Panel panel{.title = "Accuracy against white noise",
              .x_label = "a in (1 - a) A + a U[-1, 1]",
              .y_label = "accuracy, %",
              .series = {}};
  std::vector<NoiseSweep> sweeps;
  for (const std::string& path : paths) {
    const packed::Model model = packed::ReadModel(path);
    const auto dataset = OpenForModel(model, data);
    const Engine engine = EngineAccess::FromModel(model, options);
    sweeps.push_back(EvaluateNoise(engine, *dataset, data.split));
    RemarkOn(*dataset);
    models.push_back({{"model", path}});
    models.back().update(NoiseJson(sweeps.back()));
    Series& curve = panel.series.emplace_back(Series{.title = model.name, .points = {}});
    for (size_t i = 0; i < sweeps.back().alphas.size(); ++i) {
      curve.points.emplace_back(sweeps.back().alphas[i], 100 * sweeps.back().accuracies[i]);
    }
  }
  if (json != "-") {
    PrintResult("{:<8}", "noise");
    for (const Series& curve : panel.series) PrintResult(" {:>20}", Shown(curve.title));
    for (size_t i = 0; i < sweeps[0].alphas.size(); ++i) {
      PrintResult("\n{:<8.2f}", sweeps[0].alphas[i]);
      for (const NoiseSweep& sweep : sweeps) {
        PrintResult(" {:>18.2f} %", 100 * sweep.accuracies[i]);
      }
    }
    PrintResult("\n{:<8}", "score");
    for (const NoiseSweep& sweep : sweeps) PrintResult(" {:>20}", sweep.score);
    PrintResult("\n");
  }
  if (!json.empty()) WriteJson({{"models", models}}, json);
  if (!plot.empty()) WritePlot({panel}, plot);
}

}  // namespace bisparse::apps
