// SPDX-License-Identifier: Apache-2.0
// Times an engine in each mode, and other engines beside it, interleaved in one run, so that ratios
// survive a machine that changes its clock.
#ifndef BISPARSE_APPS_SUPPORT_BENCHMARK_H_
#define BISPARSE_APPS_SUPPORT_BENCHMARK_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/support/benchmark_pcm.h"
#include "bisparse/engine.h"
#include "deploy/packed/model.h"

namespace bisparse::apps {

struct BenchmarkOptions {
  std::vector<LayerChoice> choices;  ///< of mode auto
  std::vector<Mode> modes = {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};
  int threads = 1;
  int64_t batch = 1;
  bool pcm = false;                ///< also the front end: the model must have one
  double seconds = 2.0;            ///< of timed work for each mode and peer
  std::vector<std::string> peers;  ///< other engines, of peers::PeerEngines()
  /// The network that peers run instead of the model's own, on random inputs of its shape; null: the
  /// model's.
  const packed::Model* peer_model = nullptr;
};

/// Quantiles over calls; a call runs one batch.
struct Timing {
  Mode mode = Mode::kAuto;
  double median_us = 0, p10_us = 0, p90_us = 0, samples_per_second = 0;
};

struct LayerTiming {
  LayerSummary summary;
  double median_us = 0;
};

/// Another engine, which ran the model with a ReLU for each k-WTA, or the reason why it did not.
struct PeerTiming {
  std::string name, reason;
  double median_us = 0, p10_us = 0, p90_us = 0, samples_per_second = 0;
  double ratio = 0;                     ///< its median ÷ that of mode `peer_mode`
  double ratio_p10 = 0, ratio_p90 = 0;  ///< quantiles over turns: medians of neighbouring turns
  double difference = 0;  ///< from our outputs on the same network, as a fraction of their range
};

struct BenchmarkResult {
  std::string model, format, isa, machine, inputs;
  int threads = 1;
  int64_t batch = 1;
  int64_t workspace_bytes = 0;  ///< of a thread, in layer_mode
  std::vector<Timing> modes;
  Mode peer_mode = Mode::kAuto;  ///< what peers are compared with
  std::string peer_model;        ///< their network's name; empty: `model`
  std::vector<PeerTiming> peers;
  Mode layer_mode =
      Mode::kSparseSparse;  ///< the mode that `layers` were timed in, one sample at a time
  std::vector<LayerTiming> layers;
  std::optional<PcmTiming> pcm;  ///< in layer_mode
};

/// inputs_bi: any number of samples back to back, used in turn.
BenchmarkResult RunBenchmark(const packed::Model& model, const BenchmarkOptions& options,
                             const std::vector<float>& inputs_bi, const std::string& inputs_name);

/// Threads and batch of each run: the one that was asked for, or 1 and all threads by batch 1
/// and 64.
std::vector<std::pair<int, int64_t>> OneRun(const BenchmarkOptions& options);
std::vector<std::pair<int, int64_t>> SweepRuns();

/// Tables for people: a line a mode with its speed-up over dense, a line a peer, a line a layer.
std::string FormatBenchmark(const BenchmarkResult& result);

/// Keys: docs/json.md, "bisparse-bench --json".
nlohmann::ordered_json BenchmarkJson(const BenchmarkResult& result);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_BENCHMARK_H_
