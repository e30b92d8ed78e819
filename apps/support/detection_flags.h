// SPDX-License-Identifier: Apache-2.0
// Flags that change how words are told in a stream (bisparse/detection.h). Tested in: tests/programs/listen_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_DETECTION_FLAGS_H_
#define BISPARSE_APPS_SUPPORT_DETECTION_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bisparse/detection.h"

namespace bisparse::apps {

/// Must live as long as the app that they were added to.
struct DetectionFlags {
  std::vector<std::string> thresholds;
  double average_ms = 0, least_ms = 0, refractory_ms = 0, gate_db = 0;
  const CLI::Option *average = nullptr, *least = nullptr, *refractory = nullptr, *gate = nullptr;
};
void AddDetectionFlags(CLI::App& app, DetectionFlags& flags);
/// What the model says, but for what the flags change. Throws Error (kConfiguration).
DetectionOptions WithFlags(DetectionOptions options, const DetectionFlags& flags);

/// "0.7" for all words, "up=0.7" for one. Throws Error (kConfiguration).
void SetThreshold(const std::string& text, DetectionOptions& options);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_DETECTION_FLAGS_H_
