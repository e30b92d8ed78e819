// SPDX-License-Identifier: Apache-2.0
// Read first: open_set.h. Tested in: open_set_test.cc.
#include "data/open_set.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "data/speech_commands_layout.h"
#include "deploy/base/check.h"

namespace bisparse::data {

bool IsWord(const std::string& class_name) {
  return class_name != kUnknownClass && class_name != kSilenceClass;
}

WordScore WordScoreOf(std::span<const float> logits, const std::vector<std::string>& class_names) {
  BISPARSE_CHECK(logits.size() == class_names.size());
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  WordScore best{.word = SIZE_MAX, .score = -1};
  for (size_t c = 0; c < logits.size(); ++c) {
    const double e = std::exp(static_cast<double>(logits[c]) - largest);
    sum += e;
    if (e > best.score && IsWord(class_names[c])) best = {.word = c, .score = e};
  }
  BISPARSE_CHECK(best.word != SIZE_MAX);
  best.score /= sum;
  return best;
}

std::optional<double> ThresholdAtFound(std::vector<double> right, int64_t clips, double fraction) {
  BISPARSE_CHECK(clips > 0 && fraction > 0);
  // Rounding must not ask for one clip more: 0.9 · 10 is 9.
  const auto needed = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(clips) - 1e-9));
  if (std::ssize(right) < needed) return std::nullopt;
  std::nth_element(right.begin(), right.begin() + (needed - 1), right.end(), std::greater<>());
  return right[static_cast<size_t>(needed - 1)];
}

double AcceptedAt(std::span<const double> scores, double threshold) {
  BISPARSE_CHECK(!scores.empty());
  const auto accepted =
      std::count_if(scores.begin(), scores.end(), [&](double s) { return s >= threshold; });
  return static_cast<double>(accepted) / static_cast<double>(scores.size());
}

}  // namespace bisparse::data
