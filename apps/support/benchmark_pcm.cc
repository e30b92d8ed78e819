// SPDX-License-Identifier: Apache-2.0
// Read first: benchmark_pcm.h.
#include "apps/support/benchmark_pcm.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "apps/support/quantile.h"
#include "bisparse/stream.h"
#include "deploy/base/random.h"

namespace bisparse::apps {
namespace {

using Clock = std::chrono::steady_clock;

/// Three seconds at 16 kHz: longer than most clips, so that calls see different samples.
constexpr int64_t kMoreSamples = 48'000;
constexpr int kFewestCalls = 50, kWarmUpCalls = 10;

template <class Call>
double TimeOf(const Call& call) {
  const Clock::time_point begin = Clock::now();
  call();
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

/// The times of the parts, call by call.
struct PartTimes {
  std::vector<double> front_end, network, both;
  void Add(double front_end_us, double network_us, double both_us) {
    front_end.push_back(front_end_us);
    network.push_back(network_us);
    both.push_back(both_us);
  }
  std::vector<PartTiming> Timings() const {
    std::vector<PartTiming> timings;
    for (auto [part, us] :
         {std::pair{"front_end", front_end}, {"network", network}, {"both", both}}) {
      us.erase(us.begin(), us.begin() + kWarmUpCalls);
      std::sort(us.begin(), us.end());
      timings.push_back({part, Quantile(us, 0.5), Quantile(us, 0.1), Quantile(us, 0.9)});
    }
    return timings;
  }
};

void AddJson(const std::vector<PartTiming>& timings, nlohmann::ordered_json& json) {
  for (const PartTiming& timing : timings) {
    json[timing.part] = {
        {"median_us", timing.median_us}, {"p10_us", timing.p10_us}, {"p90_us", timing.p90_us}};
  }
}

}  // namespace

PcmTiming TimePcm(const Engine& engine, const FrontEnd& front_end, double seconds) {
  const int64_t hop = front_end.hop_samples, clip_samples = front_end.clip_samples;
  CounterRandom random(1, {});
  std::vector<float> sound(static_cast<size_t>(clip_samples + std::max(kMoreSamples, hop)));
  for (float& sample : sound) sample = static_cast<float>(random.Normal()) * 0.05f;
  std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  Stream stream = engine.NewStream({});
  const auto ignore = [](const StreamWindow&) {};
  stream.Push(std::span<const float>(sound).first(static_cast<size_t>(clip_samples)), ignore);

  PartTimes clip_times, hop_times;
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                   std::chrono::duration<double>(seconds));
  for (int64_t call = 0; call < kFewestCalls || Clock::now() < end; ++call) {
    const int64_t begin = call * hop % (std::ssize(sound) - std::max(clip_samples, hop) + 1);
    const auto clip = std::span<const float>(sound).subspan(static_cast<size_t>(begin),
                                                            static_cast<size_t>(clip_samples));
    const double front_end_us = TimeOf([&] { engine.ComputeFeatures(clip, features); });
    const double network_us = TimeOf([&] { engine.Run(features, logits); });
    clip_times.Add(front_end_us, network_us, TimeOf([&] { engine.RunPcm(clip, logits); }));
    const auto piece =
        std::span<const float>(sound).subspan(static_cast<size_t>(begin), static_cast<size_t>(hop));
    const StreamStats before = stream.stats();
    const double both_us = TimeOf([&] { stream.Push(piece, ignore); });
    const StreamStats after = stream.stats();
    hop_times.Add(static_cast<double>(after.front_end_ns - before.front_end_ns) * 1e-3,
                  static_cast<double>(after.network_ns - before.network_ns) * 1e-3, both_us);
  }
  return {clip_times.Timings(), hop_times.Timings()};
}

std::string FormatPcm(const PcmTiming& timing) {
  std::string text = fmt::format("\nfrom samples, one thread\n{:<6}{:<9}{:>12}{:>12}{:>12}\n", "",
                                 "part", "median us", "p10", "p90");
  for (const auto& [name, parts] : {std::pair{"clip", &timing.clip}, {"hop", &timing.hop}}) {
    for (const PartTiming& part : *parts) {
      text += fmt::format("{:<6}{:<9}{:>12.2f}{:>12.2f}{:>12.2f}\n", name, part.part,
                          part.median_us, part.p10_us, part.p90_us);
    }
  }
  return text;
}

nlohmann::ordered_json PcmJson(const PcmTiming& timing) {
  nlohmann::ordered_json json;
  AddJson(timing.clip, json["clip"]);
  AddJson(timing.hop, json["hop"]);
  return json;
}

}  // namespace bisparse::apps
