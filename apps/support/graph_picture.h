// SPDX-License-Identifier: Apache-2.0
// A model's layers and who reads them as an SVG, drawn by graphviz' program dot. Tested in:
// tests/programs/inspect_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_GRAPH_PICTURE_H_
#define BISPARSE_APPS_SUPPORT_GRAPH_PICTURE_H_

#include <string>

#include "deploy/packed/model.h"

namespace bisparse::apps {

/// The graph in the language of dot: a node a layer with kind, shape, packing and winners, an edge a reading.
std::string DotOf(const packed::Model& model);

/// Throws Error: kConfiguration where dot is not installed, kData for a file that can't be written.
void WriteGraph(const packed::Model& model, const std::string& path);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_GRAPH_PICTURE_H_
