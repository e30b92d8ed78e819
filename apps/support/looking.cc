// SPDX-License-Identifier: Apache-2.0
#include "apps/support/looking.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "apps/support/listening.h"

namespace bisparse::apps {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

Seen Look(const Engine& engine, const Pixels& picture) {
  std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  Seen seen;
  engine.ComputePixelFeatures(picture, features);  // the first call warms caches up
  engine.Run(features, logits);
  const Clock::time_point start = Clock::now();
  engine.ComputePixelFeatures(picture, features);
  seen.features_us = MicrosecondsSince(start);
  const Clock::time_point between = Clock::now();
  engine.Run(features, logits);
  seen.network_us = MicrosecondsSince(between);
  std::vector<double> scores;
  Softmax(logits, scores);
  for (size_t c = 0; c < scores.size(); ++c) {
    const auto& names = engine.class_names();
    seen.classes.emplace_back(names.empty() ? fmt::format("{}", c) : names[c], scores[c]);
  }
  std::stable_sort(seen.classes.begin(), seen.classes.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return seen;
}

}  // namespace bisparse::apps
