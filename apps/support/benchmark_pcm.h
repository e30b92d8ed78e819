// SPDX-License-Identifier: Apache-2.0
// Times what becomes of samples: the front end, the network and both, for a clip and for a hop of a stream.
#ifndef BISPARSE_APPS_SUPPORT_BENCHMARK_PCM_H_
#define BISPARSE_APPS_SUPPORT_BENCHMARK_PCM_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/frontend/front_end.h"

namespace bisparse::apps {

/// Quantiles over calls.
struct PartTiming {
  std::string part;  ///< front_end, network or both
  double median_us = 0, p10_us = 0, p90_us = 0;
};

struct PcmTiming {
  std::vector<PartTiming> clip;  ///< ComputeFeatures, Run and RunPcm
  std::vector<PartTiming> hop;   ///< a push of hop_samples, which completes one window
};

/// One thread, one clip at a time; the calls take turns. The engine's model has this front end.
PcmTiming TimePcm(const Engine& engine, const FrontEnd& front_end, double seconds);

/// A table: a line a part, of the clip and of the hop.
std::string FormatPcm(const PcmTiming& timing);

/// Keys: docs/json.md, `pcm`.
nlohmann::ordered_json PcmJson(const PcmTiming& timing);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_BENCHMARK_PCM_H_
