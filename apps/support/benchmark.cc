// SPDX-License-Identifier: Apache-2.0
// Interleaved timing of an engine's modes and of its peers, and its report.
#include "apps/support/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "apps/peers/peer.h"
#include "apps/peers/turn.h"
#include "apps/support/model_source.h"
#include "apps/support/quantile.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"

namespace bisparse::apps {
namespace {

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
  const std::vector<float>& samples() const { return x_bi_; }
  /// Begins at sample call % starts, as peers do (apps/peers/peer.h).
  std::span<const float> Batch(int64_t call) const {
    return std::span<const float>(x_bi_).subspan(
        static_cast<size_t>((call % starts_) * sample_floats_),
        static_cast<size_t>(batch_ * sample_floats_));
  }

 private:
  int64_t sample_floats_, batch_, starts_ = 1;
  std::vector<float> x_bi_;
};

/// Whoever is timed: a mode of our engine, or a peer.
struct Lane {
  /// Calls for about that many µs; appends the time of each.
  std::function<void(double budget_us, std::vector<double>& call_us)> turn;
  std::vector<double> call_us, turn_median_us;
  std::string reason = {};  ///< why it failed on the way
};

Lane EngineLane(const Engine& engine, const InputRing& ring, int64_t batch) {
  std::vector<float> logits(static_cast<size_t>(batch * engine.output_count()));
  const auto turn = [&engine, &ring, batch, logits, call = int64_t{0}](
                        double budget_us, std::vector<double>& call_us) mutable {
    peers::TimeTurn(
        budget_us,
        [&] {
          const auto x_bi = ring.Batch(call++);
          if (batch == 1) {
            engine.Run(x_bi, logits);
          } else {
            engine.RunBatch(x_bi, batch, logits);
          }
        },
        call_us);
  };
  return {turn, {}, {}};
}

Lane PeerLane(peers::Peer& peer) {
  const auto turn = [&peer](double budget_us, std::vector<double>& call_us) {
    const std::vector<double> turn_us = peer.TimeCalls(budget_us);
    call_us.insert(call_us.end(), turn_us.begin(), turn_us.end());
  };
  return {turn, {}, {}};
}

/// Turns of about 20 ms, one lane after another, until each lane has had its seconds.
void TimeInTurn(std::vector<Lane>& lanes, double seconds) {
  const int rounds = std::max(3, static_cast<int>(seconds / 0.02));
  for (int round = -1; round < rounds; ++round) {  // round -1 warms up
    for (Lane& lane : lanes) {
      if (!lane.reason.empty()) continue;
      std::vector<double> turn_us;
      try {
        lane.turn(20'000, turn_us);
      } catch (const Error& error) {  // a peer that died; ours throws nothing here
        lane.reason = error.what();
        continue;
      }
      if (round < 0) continue;
      lane.call_us.insert(lane.call_us.end(), turn_us.begin(), turn_us.end());
      std::sort(turn_us.begin(), turn_us.end());
      lane.turn_median_us.push_back(Quantile(turn_us, 0.5));
    }
  }
  for (Lane& lane : lanes) std::sort(lane.call_us.begin(), lane.call_us.end());
}

PeerTiming CompareWithOurs(const peers::PeerResult& peer, const Lane& lane, const Lane& ours,
                           int64_t batch) {
  PeerTiming timing{.name = peer.name, .reason = lane.reason, .difference = peer.difference};
  if (!lane.reason.empty()) return timing;
  timing.median_us = Quantile(lane.call_us, 0.5);
  timing.p10_us = Quantile(lane.call_us, 0.1);
  timing.p90_us = Quantile(lane.call_us, 0.9);
  timing.samples_per_second = static_cast<double>(batch) * 1e6 / timing.median_us;
  timing.ratio = timing.median_us / Quantile(ours.call_us, 0.5);
  std::vector<double> ratios;
  for (size_t i = 0; i < lane.turn_median_us.size(); ++i) {
    ratios.push_back(lane.turn_median_us[i] / ours.turn_median_us[i]);
  }
  std::sort(ratios.begin(), ratios.end());
  timing.ratio_p10 = Quantile(ratios, 0.1);
  timing.ratio_p90 = Quantile(ratios, 0.9);
  return timing;
}

/// The modes to time, with the one that peers are compared with among them.
std::vector<Mode> WithPeerMode(std::vector<Mode> modes, Mode& peer_mode) {
  const auto has = [&](Mode mode) {
    return std::find(modes.begin(), modes.end(), mode) != modes.end();
  };
  peer_mode = has(Mode::kSparseSparse) ? Mode::kSparseSparse : Mode::kAuto;
  if (!has(peer_mode)) modes.push_back(peer_mode);
  return modes;
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

std::vector<std::pair<int, int64_t>> OneRun(const BenchmarkOptions& options) {
  return {{options.threads, options.batch}};
}

std::vector<std::pair<int, int64_t>> SweepRuns() {
  const int all = UsableCores();
  return {{1, 1}, {1, 64}, {all, 1}, {all, 64}};
}

BenchmarkResult RunBenchmark(const packed::Model& model, const BenchmarkOptions& options,
                             const std::vector<float>& inputs_bi, const std::string& inputs_name) {
  if (options.pcm && !model.front_end) {
    Fail(ErrorKind::kConfiguration, "--pcm",
         "the model has no front end (hint: one that was trained on recordings has)");
  }
  Mode peer_mode = options.modes.back();
  const std::vector<Mode> modes =
      options.peers.empty() ? options.modes : WithPeerMode(options.modes, peer_mode);
  std::vector<Engine> engines;
  for (const Mode mode : modes) {
    engines.push_back(EngineAccess::FromModel(
        model, {.threads = options.threads, .mode = mode, .choices = options.choices}));
  }
  const InputRing ring(inputs_bi, model.input.elements(), options.batch);
  std::vector<peers::PeerResult> peers;
  if (!options.peers.empty()) {
    const int threads = engines.front().options().threads;
    if (options.peer_model == nullptr) {
      peers = peers::StartPeers(options.peers, model, ring.samples(), threads, options.batch);
    } else {
      const packed::Model& theirs = *options.peer_model;
      const InputRing their_ring(RandomInputs(theirs.input, 256), theirs.input.elements(),
                                 options.batch);
      peers =
          peers::StartPeers(options.peers, theirs, their_ring.samples(), threads, options.batch);
    }
  }
  std::vector<Lane> lanes;
  for (const Engine& engine : engines) lanes.push_back(EngineLane(engine, ring, options.batch));
  for (const peers::PeerResult& peer : peers) {
    if (peer.peer != nullptr) lanes.push_back(PeerLane(*peer.peer));
  }
  TimeInTurn(lanes, options.seconds);

  BenchmarkResult result{
      .model = model.name,
      .format = packed::NumberFormatName(model.format),
      .isa = engines.front().isa(),
      .machine = MachineName(),
      .inputs = inputs_name,
      .threads = engines.front().options().threads,
      .batch = options.batch,
      .workspace_bytes = engines.back().workspace_bytes(),
      .peer_mode = peer_mode,
      .peer_model = options.peer_model == nullptr ? "" : options.peer_model->name,
      .layer_mode = modes.back()};
  for (size_t i = 0; i < modes.size(); ++i) {
    const std::vector<double>& us = lanes[i].call_us;
    const double median_us = Quantile(us, 0.5);
    result.modes.push_back({modes[i], median_us, Quantile(us, 0.1), Quantile(us, 0.9),
                            static_cast<double>(options.batch) * 1e6 / median_us});
  }
  const auto ours =
      static_cast<size_t>(std::find(modes.begin(), modes.end(), peer_mode) - modes.begin());
  size_t lane = modes.size();
  for (const peers::PeerResult& peer : peers) {
    result.peers.push_back(peer.peer == nullptr
                               ? PeerTiming{.name = peer.name, .reason = peer.reason}
                               : CompareWithOurs(peer, lanes[lane++], lanes[ours], options.batch));
  }
  result.layers = TimeLayers(engines.back(), ring);
  if (options.pcm) result.pcm = TimePcm(engines.back(), *model.front_end, options.seconds);
  return result;
}

std::string FormatBenchmark(const BenchmarkResult& result) {
  std::string text =
      fmt::format("{}: {}, {} ({}), {} thread{}, batch {}, {} inputs\n\n", Shown(result.model),
                  result.format, result.machine, result.isa, result.threads,
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
  if (!result.peers.empty()) {
    text += fmt::format(
        "\npeers{}, dense, ReLU for k-WTA; time relative to "
        "{}\n{:<18}{:>9}{:>12}{:>12}{:>14}{:>12}  "
        "{}\n",
        result.peer_model.empty() ? "" : " on " + Shown(result.peer_model),
        ModeName(result.peer_mode), "peer", "median us", "p10", "p90", "samples/s", "ratio",
        "p10 to p90");
  }
  for (const PeerTiming& peer : result.peers) {
    if (!peer.reason.empty()) {
      text += fmt::format("{:<18}not timed: {}\n", peer.name, Shown(peer.reason));
      continue;
    }
    text += fmt::format("{:<18}{:>9.2f}{:>12.2f}{:>12.2f}{:>14.0f}{:>11.2f}x  {:.2f} to {:.2f}\n",
                        peer.name, peer.median_us, peer.p10_us, peer.p90_us,
                        peer.samples_per_second, peer.ratio, peer.ratio_p10, peer.ratio_p90);
  }
  text += fmt::format("\nlayers in {}, one sample\n{:<12}{:<30}{:>11}{:>14}{:>14}{:>15}\n",
                      ModeName(result.layer_mode), "layer", "kernel", "median us", "MACs dense",
                      "executed", "active inputs");
  for (const LayerTiming& layer : result.layers) {
    text += fmt::format("{:<12}{:<22}{:>11.2f}{:>14}{:>14}{:>15}\n", Shown(layer.summary.name),
                        layer.summary.kernel, layer.median_us, layer.summary.macs_dense,
                        layer.summary.macs_executed, layer.summary.active_inputs);
  }
  text += fmt::format("workspace {} bytes a thread\n", result.workspace_bytes);
  if (result.pcm) text += FormatPcm(*result.pcm);
  return text;
}

nlohmann::ordered_json BenchmarkJson(const BenchmarkResult& result) {
  nlohmann::ordered_json json = {
      {"model", result.model},   {"format", result.format},
      {"isa", result.isa},       {"threads", result.threads},
      {"batch", result.batch},   {"machine", result.machine},
      {"inputs", result.inputs}, {"workspace_bytes", result.workspace_bytes}};
  for (const Timing& timing : result.modes) {
    json["modes"][ModeName(timing.mode)] = {{"median_us", timing.median_us},
                                            {"p10_us", timing.p10_us},
                                            {"p90_us", timing.p90_us},
                                            {"samples_per_second", timing.samples_per_second}};
  }
  if (!result.peer_model.empty()) json["peer_model"] = result.peer_model;
  for (const PeerTiming& peer : result.peers) {
    if (!peer.reason.empty()) {
      json["peers_missing"][peer.name] = peer.reason;
      continue;
    }
    json["peers"][peer.name] = {
        {"median_us", peer.median_us}, {"p10_us", peer.p10_us},
        {"p90_us", peer.p90_us},       {"samples_per_second", peer.samples_per_second},
        {"ratio", peer.ratio},         {"ratio_p10", peer.ratio_p10},
        {"ratio_p90", peer.ratio_p90}, {"difference", peer.difference}};
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
  if (result.pcm) json["pcm"] = PcmJson(*result.pcm);
  return json;
}

}  // namespace bisparse::apps
