// SPDX-License-Identifier: Apache-2.0
// What bisparse-inspect and bisparse-export print of a model: layers, sets, densities, bytes,
// provenance.
#ifndef BISPARSE_APPS_SUPPORT_INSPECTION_H_
#define BISPARSE_APPS_SUPPORT_INSPECTION_H_

#include <cstdint>
#include <span>
#include <string>

#include "deploy/packed/model.h"

namespace bisparse::apps {

/// "32x32x1": height, width, channels.
std::string ShapeText(const Shape& shape);
/// "4 ch, row": the positions that share an owner.
std::string RunText(const packed::Packing& packing);
/// "2 of 8 a position, 2 groups": winners of a k-WTA layer.
std::string KwtaText(const packed::Layer& layer);

/// Values by the layers that give them: "conv4, inner".
std::string InputNames(const packed::Model& model, std::span<const int32_t> values);

/// A line a layer: output shape, sets, set size, lanes, run, non-zeros, density, winners, bytes;
/// what it reads where that is not the line before;
/// totals below.
std::string FormatLayers(const packed::Model& model);

/// Input, classes, front end, provenance.
std::string FormatSummary(const packed::Model& model);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_INSPECTION_H_
