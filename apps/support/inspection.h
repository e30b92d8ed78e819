// SPDX-License-Identifier: Apache-2.0
// What bisparse-inspect and bisparse-export print of a model: layers, sets, densities, bytes,
// provenance.
#ifndef BISPARSE_APPS_SUPPORT_INSPECTION_H_
#define BISPARSE_APPS_SUPPORT_INSPECTION_H_

#include <string>

#include "deploy/packed/model.h"

namespace bisparse::apps {

/// A line a layer: output shape, sets, set size, lanes, run, non-zeros, density, winners, bytes;
/// totals below.
std::string FormatLayers(const packed::Model& model);

/// Input, classes, front end, provenance.
std::string FormatSummary(const packed::Model& model);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_INSPECTION_H_
