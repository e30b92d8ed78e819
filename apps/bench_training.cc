// SPDX-License-Identifier: Apache-2.0
// bisparse-bench-training: one training step of a configuration, packed, masked and dense. bisparse-bench --training starts
// it: a program of its own, because it needs LibTorch.
#include <fmt/format.h>
#include <malloc.h>

#include "apps/support/json.h"
#include "apps/support/program.h"
#include "deploy/base/print.h"
#include "train/config/load.h"
#include "train/loop/libtorch_error.h"
#include "train/loop/training_benchmark.h"

namespace bisparse::apps {
namespace {

nlohmann::ordered_json StepJson(const train::StepTime& time) {
  return {{"step_ms", time.step_ms},
          {"clips_per_second", time.clips_per_second},
          {"forward_ms", time.forward_ms},
          {"backward_ms", time.backward_ms},
          {"optimiser_ms", time.optimiser_ms}};
}

nlohmann::ordered_json Json(const train::Config& config, const train::TrainingBenchmark& result) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const train::LayerWay& way : result.layers) {
    nlohmann::ordered_json layer = {{"name", way.name},
                                    {"way", way.packed ? "packed" : "masked"},
                                    {"packed_ms", way.packed_ms},
                                    {"masked_ms", way.masked_ms}};
    if (way.dense_ms >= 0.0) layer["dense_ms"] = way.dense_ms;
    layers.push_back(std::move(layer));
  }
  return {{"model", config.name},
          {"batch", result.batch},
          {"threads", result.threads},
          {"rounds", result.rounds},
          {"training",
           {{"packed", StepJson(result.packed)},
            {"masked", StepJson(result.masked)},
            {"dense", StepJson(result.dense)}}},
          {"layers", layers}};
}

std::string Table(const train::Config& config, const train::TrainingBenchmark& result) {
  std::string text = fmt::format(
      "{}: a training step of {} samples, {} thread{}, owners "
      "fixed\n\n{:<8}{:>10}{:>10}{:>10}{:>10}{:>11}\n",
      config.name, result.batch, result.threads, result.threads == 1 ? "" : "s", "", "step ms",
      "clips/s", "forward", "backward", "optimiser");
  const auto row = [&](const char* name, const train::StepTime& t) {
    text += fmt::format("{:<8}{:>10.2f}{:>10.0f}{:>10.2f}{:>10.2f}{:>11.2f}\n", name, t.step_ms,
                        t.clips_per_second, t.forward_ms, t.backward_ms, t.optimiser_ms);
  };
  row("packed", result.packed);
  row("masked", result.masked);
  row("dense", result.dense);
  text += fmt::format(
      "\nmasked / packed {:.2f}, dense / packed {:.2f}\n\n{:<16}{:>8}{:>12}{:>12}{:>12}\n",
      result.masked.step_ms / result.packed.step_ms, result.dense.step_ms / result.packed.step_ms,
      "layer", "way", "packed ms", "masked ms", "dense ms");
  for (const train::LayerWay& way : result.layers) {
    text += fmt::format("{:<16}{:>8}{:>12.3f}{:>12.3f}{:>12}\n", way.name,
                        way.packed ? "packed" : "masked", way.packed_ms, way.masked_ms,
                        way.dense_ms < 0.0 ? "" : fmt::format("{:.3f}", way.dense_ms));
  }
  return text;
}

}  // namespace
}  // namespace bisparse::apps

int main(int argc, char** argv) {
  using namespace bisparse;
#ifdef __GLIBC__
  // As bisparse-train: the activations' pages are kept from step to step.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
  CLI::App app("Times one training step of a configuration: packed, masked, and of its dense twin.",
               "bisparse-bench-training");
  app.footer(apps::Footer("bisparse-bench-training configs/gsc_aligned.yaml"));
  std::string path, json;
  train::TrainingBenchmarkOptions options;
  app.add_option("CONFIG", path, "A CONFIG.yaml")->required();
  app.add_option("--threads", options.threads, "LibTorch's threads; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Samples of a step; 0 = the configuration's")
      ->check(CLI::Range(int64_t{0}, int64_t{65536}))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "Timed work")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app.add_option("--json", json, "Also write the figures to this file (- = stdout, nothing else)");
  return apps::RunProgram(app, argc, argv, [&] {
    apps::RequireOutputs({{"--json", json}}, {{"CONFIG", path}});
    const train::Config config = train::LoadConfig(path);
    const train::TrainingBenchmark result =
        train::CallLibTorch(path, [&] { return train::BenchmarkTraining(config, options); });
    if (json != "-") PrintResult("{}", apps::Table(config, result));
    if (!json.empty()) apps::WriteJson(apps::Json(config, result), json);
    return 0;
  });
}
