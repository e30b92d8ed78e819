// SPDX-License-Identifier: Apache-2.0
// Read first: graph_picture.h.
#include "apps/support/graph_picture.h"

#include <fmt/format.h>

#include "apps/support/child.h"
#include "apps/support/inspection.h"
#include "deploy/base/file.h"
#include "deploy/base/show.h"
#include "deploy/packed/graph.h"

namespace bisparse::apps {
namespace {

/// As it is, in a quoted string of dot: it would read entities, escapes and control characters its own way.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : Shown(text)) {
    if (c == '&') {
      escaped += "&amp;";
    } else {
      if (c == '"' || c == '\\') escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

std::string Label(const packed::Layer& layer) {
  std::string label =
      fmt::format("{}\\n{}", Escaped(layer.name), packed::LayerKindName(layer.kind));
  const packed::Window& w = layer.window;
  if (!(w == packed::Window{})) {
    label += fmt::format(" {}x{}", w.kernel_h, w.kernel_w);
    if (w.stride_h > 1 || w.stride_w > 1) label += fmt::format(" / {}x{}", w.stride_h, w.stride_w);
    if (w.IsDilated()) label += fmt::format(", dilation {}x{}", w.dilation_h, w.dilation_w);
  }
  if (layer.HasWeights() && layer.packing.set_size > 1) {
    label += fmt::format("\\nS {}, L {}, run {}", layer.packing.set_size, layer.packing.lanes,
                         RunText(layer.packing));
  }
  if (layer.kind == packed::LayerKind::kKwta) label += "\\n" + KwtaText(layer);
  return label;
}

/// Layers with weights, those that choose winners, and those with several inputs stand out.
const char* Colour(const packed::Layer& layer, size_t inputs) {
  if (layer.HasWeights()) return layer.packing.set_size > 1 ? "#f4c27a" : "#cfe3f7";
  if (layer.kind == packed::LayerKind::kKwta) return "#f7b5a8";
  return inputs > 1 ? "#d8efc9" : "#ffffff";
}

}  // namespace

std::string DotOf(const packed::Model& model) {
  const packed::Graph graph(model);
  const auto node = [](int64_t value) {
    return value < 0 ? std::string("input") : fmt::format("n{}", value);
  };
  const auto shape = [&](int64_t value) {
    return ShapeText(value < 0 ? model.input : model.layers[static_cast<size_t>(value)].output);
  };
  std::string dot = fmt::format(
      "digraph \"{}\" {{\nnode [shape=box, style=\"rounded,filled\", fillcolor=white, "
      "fontname=\"sans-serif\", fontsize=11]\nedge [fontname=\"sans-serif\", fontsize=9]\n"
      "input [label=\"input\", shape=plaintext, style=\"\"]\n"
      "output [label=\"output\", shape=plaintext, style=\"\"]\n",
      Escaped(model.name));
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const packed::Layer& layer = model.layers[i];
    const auto inputs = graph.inputs(static_cast<int64_t>(i));
    const auto index = static_cast<int64_t>(i);
    dot += fmt::format("{} [label=\"{}\", fillcolor=\"{}\"]\n", node(index), Label(layer),
                       Colour(layer, inputs.size()));
    for (const int32_t value : inputs) {
      dot += fmt::format("{} -> {} [label=\" {}\"]\n", node(value), node(index), shape(value));
    }
  }
  const int64_t last = static_cast<int64_t>(model.layers.size()) - 1;
  return dot + fmt::format("{} -> output [label=\" {}\"]\n}}\n", node(last), shape(last));
}

void WriteGraph(const packed::Model& model, const std::string& path) {
  WriteFileAtomically(path, OutputOf("dot", {"-Tsvg"}, DotOf(model), "graphviz", path));
}

}  // namespace bisparse::apps
