// SPDX-License-Identifier: Apache-2.0
#include "apps/support/listening.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "data/speech_commands_layout.h"
#include "deploy/engine/engine_access.h"
#include "deploy/frontend/log_mel.h"

namespace bisparse::apps {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// First samples of the windows: what training would cut out, from there in steps to both sides,
/// and both ends.
std::set<int64_t> Windows(const FrontEnd& front_end, int64_t samples) {
  const int64_t last = samples - front_end.clip_samples;
  const int64_t step = std::max(1, front_end.clip_samples / 8);
  const int64_t aligned = ClipStart(front_end.align, samples, front_end.clip_samples);
  std::set<int64_t> starts = {0, last};
  for (int64_t at = aligned % step; at <= last; at += step) starts.insert(at);
  return starts;
}

bool NoWord(const std::string& name) {
  return name == data::kSilenceClass || name == data::kUnknownClass;
}

}  // namespace

void Softmax(std::span<const float> logits, std::vector<double>& scores) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  scores.assign(logits.begin(), logits.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (double& score : scores) score /= sum;
}

Listening Listen(const Engine& engine, std::span<const float> samples) {
  const FrontEnd& front_end = *EngineAccess::model(engine).front_end;
  const auto length = static_cast<int64_t>(samples.size());
  std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  std::vector<double> scores, likeliest;
  Listening heard;
  heard.classes.resize(logits.size());
  for (size_t c = 0; c < logits.size(); ++c) {
    const auto& names = engine.class_names();
    heard.classes[c].name = names.empty() ? fmt::format("{}", c) : names[c];
  }
  const auto run = [&](std::span<const float> part) {
    const Clock::time_point start = Clock::now();
    engine.ComputeFeatures(part, features);
    heard.front_end_us += MicrosecondsSince(start);
    const Clock::time_point between = Clock::now();
    engine.Run(features, logits);
    heard.network_us += MicrosecondsSince(between);
    Softmax(logits, scores);
  };
  engine.ComputeFeatures(samples, features);  // the first call warms caches up
  engine.Run(features, logits);
  if (length <= front_end.clip_samples + front_end.hop_samples) {
    run(samples);
    for (size_t c = 0; c < scores.size(); ++c) heard.classes[c].score = scores[c];
  } else {
    const std::set<int64_t> starts = Windows(front_end, length);
    double word = -1;
    int64_t word_at = 0;
    for (const int64_t at : starts) {
      run(samples.subspan(static_cast<size_t>(at), static_cast<size_t>(front_end.clip_samples)));
      double best = -1;
      for (size_t c = 0; c < scores.size(); ++c) {
        if (NoWord(heard.classes[c].name)) continue;
        best = std::max(best, scores[c]);
        if (scores[c] > heard.classes[c].score) {
          heard.classes[c].score = scores[c];
          heard.classes[c].at = at;
        }
      }
      if (best > word || likeliest.empty()) {
        word = best;
        word_at = at;
        likeliest = scores;
      }
    }
    for (size_t c = 0; c < scores.size(); ++c) {
      if (!NoWord(heard.classes[c].name)) continue;
      heard.classes[c].score = likeliest[c];
      heard.classes[c].at = word_at;
    }
    heard.windows = std::ssize(starts);
    heard.front_end_us /= static_cast<double>(heard.windows);
    heard.network_us /= static_cast<double>(heard.windows);
  }
  std::stable_sort(heard.classes.begin(), heard.classes.end(),
                   [](const Heard& a, const Heard& b) { return a.score > b.score; });
  return heard;
}

}  // namespace bisparse::apps
