// SPDX-License-Identifier: Apache-2.0
// Read first: curves.h. Tested in: tests/programs/programs_test.cc.
#include "apps/support/curves.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::apps {
namespace {

namespace fs = std::filesystem;

/// Columns by name; an empty cell is no number.
using Table = std::map<std::string, std::vector<std::optional<double>>, std::less<>>;

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Table ReadTable(const std::string& path) {
  std::error_code error_code;
  if (!fs::exists(path, error_code) && !error_code) {
    Fail(ErrorKind::kData, path,
         "is not there (hint: give run folders in which bisparse-train finished an epoch)");
  }
  const std::string text = ReadTextFile(path);
  std::vector<std::string_view> lines = Split(text, '\n');
  while (lines.size() > 1 && lines.back().empty()) lines.pop_back();
  const std::vector<std::string_view> names = Split(lines[0], ',');
  Table table;
  for (size_t line = 1; line < lines.size(); ++line) {
    const std::vector<std::string_view> cells = Split(lines[line], ',');
    if (cells.size() != names.size()) {
      Fail(ErrorKind::kData, fmt::format("{}:{}", path, line + 1), "{} cells, {} expected",
           cells.size(), names.size());
    }
    for (size_t i = 0; i < cells.size(); ++i) {
      std::optional<double>& cell = table[std::string(names[i])].emplace_back();
      if (cells[i].empty()) continue;
      double value = 0;
      const auto [end, error] =
          std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), value);
      if (error != std::errc() || end != cells[i].data() + cells[i].size() ||
          !std::isfinite(value)) {
        Fail(ErrorKind::kData, fmt::format("{}:{}", path, line + 1), "{} = '{}' is no number",
             names[i], cells[i]);
      }
      cell = value;
    }
  }
  return table;
}

}  // namespace

std::vector<Panel> TrainingCurves(const std::vector<std::string>& run_folders) {
  struct Column {
    const char* name;
    double factor;
    Panel panel;
    bool drawn = false;
  };
  std::vector<Column> columns = {
      {"train_loss", 1, {"Training loss", "epoch", "cross entropy", {}}},
      {"validation_accuracy", 100, {"Validation accuracy", "epoch", "%", {}}},
      {"validation_perturbed", 100, {"Accuracy on perturbed copies", "epoch", "%", {}}}};
  for (const std::string& run : run_folders) {
    const std::string path = run + "/metrics.csv";
    const Table table = ReadTable(path);
    const auto epochs = table.find("epoch");
    for (Column& column : columns) {
      const auto values = table.find(column.name);
      if (epochs == table.end() || values == table.end()) {
        Fail(ErrorKind::kData, path, "has no column '{}' or no epoch", column.name);
      }
      const fs::path folder = fs::path(run).lexically_normal();
      Series curve{.title = (folder.has_filename() ? folder : folder.parent_path()).filename(),
                   .points = {}};
      for (size_t i = 0; i < values->second.size(); ++i) {
        if (!values->second[i] || !epochs->second[i]) continue;
        curve.points.emplace_back(*epochs->second[i], column.factor * *values->second[i]);
      }
      column.drawn |= !curve.points.empty();
      column.panel.series.push_back(std::move(curve));
    }
  }
  std::vector<Panel> panels;
  for (Column& column : columns) {
    if (column.drawn) panels.push_back(std::move(column.panel));
  }
  return panels;
}

}  // namespace bisparse::apps
