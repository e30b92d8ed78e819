// SPDX-License-Identifier: Apache-2.0
// bisparse-evaluate on streams: one pass of each network, then the report, the curve, the choice of thresholds.
// Read first: stream_evaluation.h. Tested in: tests/programs/streams_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_STREAM_COMMAND_H_
#define BISPARSE_APPS_SUPPORT_STREAM_COMMAND_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "apps/support/detection_flags.h"
#include "apps/support/stream_evaluation.h"

namespace bisparse::apps {

/// Must live as long as the app that its flags were added to.
struct StreamCommand {
  std::vector<std::string> streams;
  StreamEvaluationOptions options;
  DetectionFlags detection;
  bool choose = false;
  std::string output;  ///< the model with the detection that was chosen
};
void AddStreamFlags(CLI::App& app, StreamCommand& command);

/// Reports on each model; `json` and `plot` may be empty.
void RunStreamCommand(const std::vector<std::string>& models, const StreamCommand& command,
                      const EngineOptions& engine_options, const std::string& json,
                      const std::string& plot);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_STREAM_COMMAND_H_
