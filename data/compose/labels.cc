// SPDX-License-Identifier: Apache-2.0
// Read first: labels.h.
#include "data/compose/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <tuple>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/show.h"

namespace bisparse::data {
namespace {

constexpr double kMostSeconds = 1e7;  // four months: more is a wrong unit

double Seconds(std::string text, const std::string& where) {
  std::replace(text.begin(), text.end(), ',', '.');
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(value >= 0 && value <= kMostSeconds)) {
    Fail(ErrorKind::kData, where, "'{:.80}' is no time from 0 to {:.0f} seconds", Shown(text),
         kMostSeconds);
  }
  return value;
}

Label LabelOf(const std::string& line, const std::string& where) {
  const size_t first = line.find('\t');
  const size_t second = first == std::string::npos ? first : line.find('\t', first + 1);
  if (second == std::string::npos || line.find_first_not_of(" \t", second) == std::string::npos) {
    Fail(ErrorKind::kData, where,
         "'{:.80}' is no label (hint: begin, end and text with tabs between them, as Audacity "
         "exports labels)",
         Shown(line));
  }
  Label label{.begin_s = Seconds(line.substr(0, first), where),
              .end_s = Seconds(line.substr(first + 1, second - first - 1), where),
              .text = line.substr(line.find_first_not_of(" \t", second))};
  label.text.erase(label.text.find_last_not_of(" \t") + 1);
  if (label.end_s < label.begin_s) {
    Fail(ErrorKind::kData, where, "ends at {} s, before it begins at {} s", label.end_s,
         label.begin_s);
  }
  return label;
}

}  // namespace

std::string LabelsPathOf(const std::string& recording) {
  return std::filesystem::path(recording).replace_extension(".txt").string();
}

std::vector<Label> ReadLabels(const std::string& path) {
  std::string text = ReadTextFile(path);
  if (text.find('\0') != std::string::npos) {
    Fail(ErrorKind::kData, path, "is UTF-16 or no text at all (hint: save it as UTF-8)");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  std::vector<Label> labels;
  std::istringstream stream(text);
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.starts_with('\\') || line.find_first_not_of(" \t") == std::string::npos) continue;
    labels.push_back(LabelOf(line, fmt::format("{}:{}", path, number)));
  }
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) {
    return std::tie(a.begin_s, a.end_s) < std::tie(b.begin_s, b.end_s);
  });
  return labels;
}

std::string LabelsText(const std::vector<Label>& labels) {
  std::string text;
  for (const Label& label : labels) {
    text += fmt::format("{:.6f}\t{:.6f}\t{}\n", label.begin_s, label.end_s, Shown(label.text));
  }
  return text;
}

}  // namespace bisparse::data
