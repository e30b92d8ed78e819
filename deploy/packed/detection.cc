// SPDX-License-Identifier: Apache-2.0
// Read first: detection.h.
#include "deploy/packed/detection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <string_view>

namespace bisparse::packed {

bool IsNoWord(const std::string& class_name) {
  return class_name == "_silence_" || class_name == "_unknown_";
}

std::string DetectionFault(const DetectionOptions& options,
                           std::span<const std::string> class_names) {
  const auto fault = [](const std::string& field, double value, double low, double high) {
    return low <= value && value <= high  // not of NaN
               ? std::string()
               : fmt::format("{} = {}, allowed are {} to {}", field, value, low, high);
  };
  constexpr double kMostMs = 60e3;
  for (const std::string& found : {fault("average_ms", options.average_ms, 0, kMostMs),
                                   fault("threshold", options.threshold, 0, 1),
                                   fault("least_ms", options.least_ms, 0, kMostMs),
                                   fault("refractory_ms", options.refractory_ms, 0, kMostMs),
                                   fault("gate_db", options.gate_db, -200, 0)}) {
    if (!found.empty()) return found;
  }
  const std::set<std::string_view> names(class_names.begin(), class_names.end());
  std::set<std::string_view> seen;
  for (const WordThreshold& word : options.words) {
    if (!names.contains(word.word) || IsNoWord(word.word)) {
      return fmt::format("words name '{:.80}', which is no word of the model (its classes: {})",
                         word.word, fmt::join(class_names, ", "));
    }
    if (!seen.insert(word.word).second) return fmt::format("words name '{}' twice", word.word);
    const std::string found =
        fault(fmt::format("threshold of '{}'", word.word), word.threshold, 0, 1);
    if (!found.empty()) return found;
  }
  return {};
}

}  // namespace bisparse::packed
