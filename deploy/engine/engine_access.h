// SPDX-License-Identifier: Apache-2.0
// The engine for those who have no model file: tests, the benchmark of a network not yet trained,
// the exporter's verification. Not installed. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_ENGINE_ACCESS_H_
#define BISPARSE_DEPLOY_ENGINE_ENGINE_ACCESS_H_

#include <span>
#include <string>

#include "bisparse/engine.h"
#include "deploy/engine/execute.h"
#include "deploy/packed/model.h"

namespace bisparse {

class EngineAccess {
 public:
  /// Validates and plans; `location` names the model in errors (its name by default). The engine
  /// keeps a copy whose spans share model.storage: what they point into must outlive the engine if
  /// storage does not hold it.
  static Engine FromModel(packed::Model model, const EngineOptions& options = {},
                          const std::string& location = {});

  static const packed::Model& model(const Engine& engine);

  /// Runs one sample and calls back with each layer's index and its output map: what a run fuses
  /// are steps of their own here, winners are scattered into zeros. Allocates.
  static void RunTraced(const Engine& engine, std::span<const float> features,
                        const TraceCallback& callback);
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_ENGINE_ACCESS_H_
