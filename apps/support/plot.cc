// SPDX-License-Identifier: Apache-2.0
// Read first: plot.h.
#include "apps/support/plot.h"

#include <fmt/format.h>

#include "apps/support/child.h"
#include "deploy/base/file.h"
#include "deploy/base/show.h"

namespace bisparse::apps {
namespace {

/// In single quotes gnuplot takes every character for itself, but not a line feed; control characters and what is no
/// UTF-8 would end up in the SVG.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : Shown(text)) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

std::string Script(const std::vector<Panel>& panels) {
  std::string script = fmt::format(
      "set encoding utf8\nset terminal svg size 800,{} noenhanced background rgb 'white'\n"
      "set grid\nset key outside right\nset multiplot layout {},1\n",
      60 + 340 * panels.size(), panels.size());
  for (const Panel& panel : panels) {
    script += fmt::format("set title {}\nset xlabel {}\nset ylabel {}\n", Quoted(panel.title),
                          Quoted(panel.x_label), Quoted(panel.y_label));
    script +=
        panel.x_max > 0 ? fmt::format("set xrange [0:{}]\n", panel.x_max) : "set xrange [*:*]\n";
    std::string lines;
    for (size_t i = 0; i < panel.series.size(); ++i) {
      if (panel.series[i].points.empty()) continue;
      script += fmt::format("$series{} << EOD\n", i);
      for (const auto& [x, y] : panel.series[i].points) script += fmt::format("{} {}\n", x, y);
      script += "EOD\n";
      lines += fmt::format("{}$series{} with linespoints pointsize 0.4 linetype {} title {}",
                           lines.empty() ? "" : ", ", i, i + 1, Quoted(panel.series[i].title));
    }
    script += "plot " + lines + "\n";
  }
  return script + "unset multiplot\n";
}

}  // namespace

void WritePlot(const std::vector<Panel>& panels, const std::string& path) {
  WriteFileAtomically(path, OutputOf("gnuplot", {}, Script(panels), "gnuplot-nox", path));
}

}  // namespace bisparse::apps
