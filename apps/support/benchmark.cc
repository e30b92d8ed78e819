// SPDX-License-Identifier: Apache-2.0
// Interleaved timing of an engine's modes, and its report.
#include "apps/support/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"

namespace bisparse::apps {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double Quantile(std::vector<double>& sorted_us, double fraction) {
  const double at = fraction * static_cast<double>(sorted_us.size() - 1);
  return sorted_us[static_cast<size_t>(at + 0.5)];
}

/// Inputs of call number `call`: a different batch each time, so that no branch or cache learns one
/// sample.
class InputRing {
 public:
  InputRing(const std::vector<float>& inputs_bi, int64_t sample_floats, int64_t batch)
      : sample_floats_(sample_floats), batch_(batch) {
    const int64_t samples = static_cast<int64_t>(inputs_bi.size()) / sample_floats;
    starts_ = std::max<int64_t>(1, std::min<int64_t>(samples, 256));
    x_bi_.resize(static_cast<size_t>((starts_ + batch) * sample_floats));
    for (int64_t b = 0; b < starts_ + batch; ++b) {
      std::copy_n(inputs_bi.begin() + (b % samples) * sample_floats, sample_floats,
                  x_bi_.begin() + b * sample_floats);
    }
  }
  std::span<const float> Batch(int64_t call) const {
    return std::span<const float>(x_bi_).subspan(
        static_cast<size_t>((call % starts_) * sample_floats_),
        static_cast<size_t>(batch_ * sample_floats_));
  }

 private:
  int64_t sample_floats_, batch_, starts_ = 1;
  std::vector<float> x_bi_;
};

struct Lane {
  Engine engine;
  std::vector<double> call_us;
  int64_t call = 0;
};

/// Rounds of about 20 ms a mode, in turn, until each mode has had its seconds.
void TimeInTurn(std::vector<Lane>& lanes, const InputRing& ring, const BenchmarkOptions& options) {
  std::vector<float> logits(
      static_cast<size_t>(options.batch * lanes.front().engine.output_count()));
  const int rounds = std::max(3, static_cast<int>(options.seconds / 0.02));
  for (int round = -1; round < rounds; ++round) {  // round -1 warms up
    for (Lane& lane : lanes) {
      const auto start = Clock::now();
      do {
        const auto x_bi = ring.Batch(lane.call++);
        const auto call_start = Clock::now();
        if (options.batch == 1) {
          lane.engine.Run(x_bi, logits);
        } else {
          lane.engine.RunBatch(x_bi, options.batch, logits);
        }
        const double us = MicrosecondsSince(call_start);
        if (round >= 0) lane.call_us.push_back(us);
      } while (MicrosecondsSince(start) < 20'000.0);
    }
  }
}

std::vector<LayerTiming> TimeLayers(const Engine& engine, const InputRing& ring) {
  const auto& layers = engine.layers();
  const auto sample_floats = static_cast<size_t>(engine.input_shape().elements());
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  std::vector<int64_t> layer_ns(layers.size());
  std::vector<std::vector<double>> us(layers.size());
  for (int64_t call = 0; call < 600; ++call) {
    std::fill(layer_ns.begin(), layer_ns.end(), 0);
    engine.RunProfiled(ring.Batch(call).first(sample_floats), logits, layer_ns);
    if (call < 100) continue;
    for (size_t i = 0; i < layers.size(); ++i) {
      us[i].push_back(static_cast<double>(layer_ns[i]) * 1e-3);
    }
  }
  std::vector<LayerTiming> timings;
  for (size_t i = 0; i < layers.size(); ++i) {
    std::sort(us[i].begin(), us[i].end());
    timings.push_back({layers[i], Quantile(us[i], 0.5)});
  }
  return timings;
}

}  // namespace

std::string MachineName() {
  std::string name = "unknown CPU";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name") || line.starts_with("Model")) {
      name = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  }
  return fmt::format("{}, {} cores", name, std::thread::hardware_concurrency());
}

std::vector<float> RandomInputs(const Shape& shape, int64_t samples) {
  std::vector<float> x_bi(static_cast<size_t>(samples * shape.elements()));
  CounterRandom random(1, {0x6265'6e63'68});
  for (float& x : x_bi) x = 2.0f * random.Uniform() - 1.0f;
  return x_bi;
}

std::vector<std::pair<int, int64_t>> OneRun(const BenchmarkOptions& options) {
  return {{options.threads, options.batch}};
}

std::vector<std::pair<int, int64_t>> SweepRuns() {
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return {{1, 1}, {1, 64}, {all, 1}, {all, 64}};
}

BenchmarkResult RunBenchmark(const packed::Model& model, const BenchmarkOptions& options,
                             const std::vector<float>& inputs_bi, const std::string& inputs_name) {
  std::vector<Lane> lanes;
  for (const Mode mode : options.modes) {
    lanes.push_back(
        {EngineAccess::FromModel(model, {.threads = options.threads, .mode = mode}), {}, 0});
  }
  const InputRing ring(inputs_bi, model.input.elements(), options.batch);
  TimeInTurn(lanes, ring, options);

  BenchmarkResult result{.model = model.name,
                         .isa = lanes.front().engine.isa(),
                         .machine = MachineName(),
                         .inputs = inputs_name,
                         .threads = lanes.front().engine.options().threads,
                         .batch = options.batch};
  for (size_t i = 0; i < lanes.size(); ++i) {
    std::vector<double>& us = lanes[i].call_us;
    std::sort(us.begin(), us.end());
    const double median_us = Quantile(us, 0.5);
    result.modes.push_back({options.modes[i], median_us, Quantile(us, 0.1), Quantile(us, 0.9),
                            static_cast<double>(options.batch) * 1e6 / median_us});
  }
  result.layer_mode = options.modes.back();
  result.layers = TimeLayers(lanes.back().engine, ring);
  return result;
}

std::string FormatBenchmark(const BenchmarkResult& result) {
  std::string text = fmt::format("{}: {} ({}), {} thread{}, batch {}, {} inputs\n\n", result.model,
                                 result.machine, result.isa, result.threads,
                                 result.threads == 1 ? "" : "s", result.batch, result.inputs);
  text += fmt::format("{:<15}{:>12}{:>12}{:>12}{:>14}{:>12}\n", "mode", "median us", "p10", "p90",
                      "samples/s", "speed-up");
  const auto dense = std::find_if(result.modes.begin(), result.modes.end(),
                                  [](const Timing& t) { return t.mode == Mode::kDense; });
  for (const Timing& timing : result.modes) {
    const std::string ratio = dense == result.modes.end()
                                  ? "-"
                                  : fmt::format("{:.2f}x", dense->median_us / timing.median_us);
    text += fmt::format("{:<15}{:>12.2f}{:>12.2f}{:>12.2f}{:>14.0f}{:>12}\n", ModeName(timing.mode),
                        timing.median_us, timing.p10_us, timing.p90_us, timing.samples_per_second,
                        ratio);
  }
  text += fmt::format("\nlayers in {}, one sample\n{:<12}{:<30}{:>11}{:>14}{:>14}{:>15}\n",
                      ModeName(result.layer_mode), "layer", "kernel", "median us", "MACs dense",
                      "executed", "active inputs");
  for (const LayerTiming& layer : result.layers) {
    text += fmt::format("{:<12}{:<22}{:>11.2f}{:>14}{:>14}{:>15}\n", layer.summary.name,
                        layer.summary.kernel, layer.median_us, layer.summary.macs_dense,
                        layer.summary.macs_executed, layer.summary.active_inputs);
  }
  return text;
}

nlohmann::ordered_json BenchmarkJson(const BenchmarkResult& result) {
  nlohmann::ordered_json json = {{"model", result.model},     {"isa", result.isa},
                                 {"threads", result.threads}, {"batch", result.batch},
                                 {"machine", result.machine}, {"inputs", result.inputs}};
  for (const Timing& timing : result.modes) {
    json["modes"][ModeName(timing.mode)] = {{"median_us", timing.median_us},
                                            {"p10_us", timing.p10_us},
                                            {"p90_us", timing.p90_us},
                                            {"samples_per_second", timing.samples_per_second}};
  }
  json["layers"] = nlohmann::ordered_json::array();
  for (const LayerTiming& layer : result.layers) {
    json["layers"].push_back({{"name", layer.summary.name},
                              {"median_us", layer.median_us},
                              {"macs_dense", layer.summary.macs_dense},
                              {"macs_executed", layer.summary.macs_executed},
                              {"kernel", layer.summary.kernel},
                              {"active_inputs", layer.summary.active_inputs}});
  }
  return json;
}

}  // namespace bisparse::apps
