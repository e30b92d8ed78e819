// SPDX-License-Identifier: Apache-2.0
// The training curves of runs, from their metrics.csv.
#ifndef BISPARSE_APPS_SUPPORT_CURVES_H_
#define BISPARSE_APPS_SUPPORT_CURVES_H_

#include <string>
#include <vector>

#include "apps/support/plot.h"

namespace bisparse::apps {

/// Training loss, validation accuracy and (where a run has it) accuracy on the perturbed copies over
/// the epochs; a curve for each run folder. Throws Error (kData) where metrics.csv is missing or
/// not a table of numbers.
std::vector<Panel> TrainingCurves(const std::vector<std::string>& run_folders);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_CURVES_H_
