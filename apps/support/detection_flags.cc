// SPDX-License-Identifier: Apache-2.0
// Read first: detection_flags.h.
#include "apps/support/detection_flags.h"

#include <charconv>

#include "deploy/base/check.h"

namespace bisparse::apps {

void AddDetectionFlags(CLI::App& app, DetectionFlags& flags) {
  app.add_option(
      "--threshold", flags.thresholds,
      "For all words, or WORD=X for one (again for others); else what the model file says");
  flags.average = app.add_option("--average-ms", flags.average_ms,
                                 "Probabilities are averaged over so much time");
  flags.least = app.add_option("--least-ms", flags.least_ms,
                               "A word's average stays at its threshold so long");
  flags.refractory = app.add_option("--refractory-ms", flags.refractory_ms,
                                    "After a word none is heard for so long");
  flags.gate =
      app.add_option("--gate-db", flags.gate_db, "Quieter windows hold no word; -200: no gate");
}

DetectionOptions WithFlags(DetectionOptions options, const DetectionFlags& flags) {
  if (flags.average->count() > 0) options.average_ms = flags.average_ms;
  if (flags.least->count() > 0) options.least_ms = flags.least_ms;
  if (flags.refractory->count() > 0) options.refractory_ms = flags.refractory_ms;
  if (flags.gate->count() > 0) options.gate_db = flags.gate_db;
  for (const std::string& threshold : flags.thresholds) SetThreshold(threshold, options);
  return options;
}

void SetThreshold(const std::string& text, DetectionOptions& options) {
  const size_t equals = text.rfind('=');
  const char* const begin = text.c_str() + (equals == std::string::npos ? 0 : equals + 1);
  const char* const end = text.c_str() + text.size();
  double threshold = 0;
  const auto [stop, fault] = std::from_chars(begin, end, threshold);
  if (fault != std::errc() || stop != end || !(threshold >= 0 && threshold <= 1)) {
    Fail(ErrorKind::kConfiguration, "--threshold", "'{}' is no number from 0 to 1, nor WORD=NUMBER",
         text);
  }
  if (equals == std::string::npos) {
    options.threshold = threshold;
    options.words.clear();
    return;
  }
  const std::string word = text.substr(0, equals);
  for (WordThreshold& known : options.words) {
    if (known.word == word) {
      known.threshold = threshold;
      return;
    }
  }
  options.words.push_back({word, threshold});
}

}  // namespace bisparse::apps
