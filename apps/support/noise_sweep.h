// SPDX-License-Identifier: Apache-2.0
// bisparse-evaluate --noise. Tested in: tests/programs.
#ifndef BISPARSE_APPS_SUPPORT_NOISE_SWEEP_H_
#define BISPARSE_APPS_SUPPORT_NOISE_SWEEP_H_

#include <string>
#include <vector>

#include "apps/support/evaluation.h"

namespace bisparse::apps {

/// A line for each level, a column for each model; `json` and `plot` may be empty.
void SweepNoise(const std::vector<std::string>& models, const EvaluationData& data,
                const EngineOptions& options, const std::string& json, const std::string& plot);

/// What the user should know of a data set that was opened, to stderr.
void RemarkOn(const data::Dataset& dataset);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_NOISE_SWEEP_H_
