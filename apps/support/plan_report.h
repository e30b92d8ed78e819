// SPDX-License-Identifier: Apache-2.0
// What a plan says: each layer's work, kernel, bytes, expected time and why; what to expect in all; what to mend.
#ifndef BISPARSE_APPS_SUPPORT_PLAN_REPORT_H_
#define BISPARSE_APPS_SUPPORT_PLAN_REPORT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/engine/cost.h"
#include "deploy/packed/model.h"

namespace bisparse::apps {

struct PlannedLayer {
  LayerSummary summary;
  int64_t macs_sparse_dense = 0;   ///< by weights that are not zero
  int64_t macs_sparse_sparse = 0;  ///< of them, those that meet winners of the k-WTA before it
  const char* cache = "";          ///< the nearest one that holds the layer's weights
};

struct PlanReport {
  std::string model, format, isa, machine;
  CacheSizes caches;
  double clock_ghz = 0;
  int64_t workspace_bytes = 0;
  std::vector<PlannedLayer> layers;
  double expected_us = 0, dense_us = 0;  ///< sums
  std::vector<std::string> warnings;
};

/// Of the engine's plan; nothing is run.
PlanReport ReportPlan(const packed::Model& model, const EngineOptions& options);
std::string FormatPlan(const PlanReport& report);
nlohmann::ordered_json PlanJson(const PlanReport& report);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_PLAN_REPORT_H_
