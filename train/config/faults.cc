// SPDX-License-Identifier: Apache-2.0
// Read first: faults.h. Tested in: load_test.cc.
#include "train/config/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "bisparse/error.h"

namespace bisparse::train {
namespace {

// Past this many lines nobody reads on, and a hostile file could make millions.
constexpr size_t kShownFaults = 100;

}  // namespace

Faults::Faults(std::string path, std::vector<std::string> overrides)
    : path_(std::move(path)), overrides_(std::move(overrides)) {}

Mark Faults::MarkOf(std::string_view key) const {
  while (true) {
    const auto found = marks_.find(key);
    if (found != marks_.end()) return found->second;
    const size_t dot = key.rfind('.');
    if (dot == std::string_view::npos) return {};
    key = key.substr(0, dot);
  }
}

void Faults::AddAt(Mark mark, const std::string& key, const std::string& message) {
  faults_.push_back({mark, key, message});
}

bool Faults::Concerns(std::string_view key) const {
  return std::any_of(faults_.begin(), faults_.end(), [&](const Fault& fault) {
    const std::string_view other = fault.key;
    return other == key || (other.size() > key.size() && other[key.size()] == '.' &&
                            other.substr(0, key.size()) == key);
  });
}

std::string Faults::Location(Mark mark) const {
  if (mark.line > 0) {
    return fmt::format("{}:{}:{}", path_.empty() ? "configuration" : path_, mark.line, mark.column);
  }
  if (mark.column > 0 && static_cast<size_t>(mark.column) <= overrides_.size()) {
    return "--set " + overrides_[static_cast<size_t>(mark.column) - 1];
  }
  return path_.empty() ? "configuration" : path_;
}

void Faults::ThrowIfAny() const {
  if (faults_.empty()) return;
  std::vector<Fault> sorted = faults_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Fault& a, const Fault& b) {
    return std::tie(a.mark.line, a.mark.column) < std::tie(b.mark.line, b.mark.column);
  });
  std::string message;
  for (size_t i = 0; i < sorted.size() && i < kShownFaults; ++i) {
    const Fault& fault = sorted[i];
    if (i > 0) message += fmt::format("\n{}: ", Location(fault.mark));
    message += fault.key.empty() ? fault.message : fault.key + " " + fault.message;
  }
  if (sorted.size() > kShownFaults) {
    message += fmt::format("\n… and {} more", sorted.size() - kShownFaults);
  }
  throw Error(ErrorKind::kConfiguration, Location(sorted.front().mark), message);
}

}  // namespace bisparse::train
