// SPDX-License-Identifier: Apache-2.0
// Line plots as SVG, drawn by the program gnuplot.
#ifndef BISPARSE_APPS_SUPPORT_PLOT_H_
#define BISPARSE_APPS_SUPPORT_PLOT_H_

#include <string>
#include <utility>
#include <vector>

namespace bisparse::apps {

struct Series {
  std::string title;
  std::vector<std::pair<double, double>> points;  ///< finite
};

struct Panel {
  std::string title, x_label, y_label;
  std::vector<Series> series;  ///< colours by their order; one without points is left out
  double x_max = 0;            ///< what lies beyond is not drawn; 0: all is
};

/// The panels below each other. Throws Error: kConfiguration where gnuplot is not installed, kData
/// for a file that can't be written.
void WritePlot(const std::vector<Panel>& panels, const std::string& path);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_PLOT_H_
