// SPDX-License-Identifier: Apache-2.0
// Read first: sample_table.h. Tested in: sample_table_test.cc.
#include "data/sample_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace bisparse::data {
namespace {

struct Column {
  std::string title;
  std::vector<int64_t> count;  // [class]
  int64_t sum() const { return std::accumulate(count.begin(), count.end(), int64_t{0}); }
};

std::vector<Column> Columns(const Dataset& dataset) {
  const SampleCounts& counts = dataset.counts();
  std::vector<Column> columns;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    std::vector<ClassCount> classes = counts.of_split[static_cast<size_t>(split)];
    if (classes.empty() && dataset.size(split) > 0) {
      classes.resize(dataset.class_names().size());
      for (int64_t i = 0; i < dataset.size(split); ++i) ++classes[dataset.Label(split, i)].used;
    }
    if (classes.empty()) continue;
    const auto add = [&](const char* title, int64_t ClassCount::*member, bool always) {
      Column column{title, {}};
      for (const ClassCount& of_class : classes) column.count.push_back(of_class.*member);
      if (always || column.sum() > 0) columns.push_back(std::move(column));
    };
    add(SplitName(split), &ClassCount::used, true);
    add("broken", &ClassCount::broken, false);
    add("longer", &ClassCount::longer, false);
    add("shorter", &ClassCount::shorter, false);
  }
  Column passed_over{"passed over", counts.passed_over};
  if (passed_over.sum() > 0) columns.push_back(std::move(passed_over));
  return columns;
}

}  // namespace

std::string SampleTable(const Dataset& dataset) {
  const SampleCounts& counts = dataset.counts();
  const std::vector<std::string>& classes = dataset.class_names();
  const std::vector<Column> columns = Columns(dataset);
  if (columns.empty()) return "";
  size_t widest = 7;
  for (const std::string& name : classes) widest = std::max(widest, name.size());
  const auto row = [&](const std::string& name, const auto& value) {
    std::string line = fmt::format("{:<{}}", name, widest);
    for (const Column& column : columns) {
      line += fmt::format("{:>{}}", value(column), std::max<size_t>(column.title.size(), 5) + 2);
    }
    return line + "\n";
  };
  std::string table = row("samples", [](const Column& column) { return column.title; });
  for (size_t c = 0; c < classes.size(); ++c) {
    table += row(classes[c], [&](const Column& column) { return std::to_string(column.count[c]); });
  }
  table += row("all", [](const Column& column) { return std::to_string(column.sum()); });
  for (const std::string& note : counts.notes) table += note + "\n";
  return table;
}

std::string DatasetReport(const Dataset& dataset) {
  std::string report = SampleTable(dataset);
  for (const std::string& warning : dataset.warnings()) report += "warning: " + warning + "\n";
  for (const SkippedFile& file : dataset.skipped()) report += "skipped: " + file.reason + "\n";
  return report;
}

std::vector<std::string> ClassWarnings(const Dataset& dataset, Split split) {
  const std::vector<std::string>& classes = dataset.class_names();
  std::vector<int64_t> count(classes.size(), 0);
  for (int64_t i = 0; i < dataset.size(split); ++i) ++count[dataset.Label(split, i)];
  if (dataset.size(split) == 0) return {fmt::format("the {} split is empty", SplitName(split))};
  std::vector<std::string> warnings;
  int64_t present = 0;
  for (size_t label = 0; label < count.size(); ++label) {
    present += count[label] > 0 ? 1 : 0;
    if (count[label] > 0) continue;
    warnings.push_back(fmt::format("the {} split has no {} of the class '{}'", SplitName(split),
                                   dataset.counts().one, classes[label]));
  }
  if (present == 1) {
    const auto only = std::find_if(count.begin(), count.end(), [](int64_t n) { return n > 0; });
    warnings.push_back(fmt::format("all samples of the {} split are of one class, '{}'",
                                   SplitName(split), classes[only - count.begin()]));
  }
  const auto& counts = dataset.counts().of_split[static_cast<size_t>(split)];
  for (size_t label = 0; label < counts.size(); ++label) {
    const bool silence = classes[label] == "_silence_";
    if (silence || counts[label].silent == 0 || counts[label].silent < counts[label].used) continue;
    warnings.push_back(fmt::format("all clips of the class '{}' in the {} split are silent",
                                   classes[label], SplitName(split)));
  }
  return warnings;
}

}  // namespace bisparse::data
