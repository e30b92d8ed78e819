// SPDX-License-Identifier: Apache-2.0
// Read first: scalars.h. Tested in: load_test.cc.
#include "train/config/scalars.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace bisparse::train {
namespace {

template <typename Number>
std::optional<Number> ParseAll(std::string_view text) {
  if (HasLeadingZero(text)) return std::nullopt;
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// Levenshtein's distance: insertions, deletions and substitutions from a to b.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

bool HasLeadingZero(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

std::optional<int64_t> ParseWhole(std::string_view text) { return ParseAll<int64_t>(text); }
std::optional<uint64_t> ParseUnsigned(std::string_view text) { return ParseAll<uint64_t>(text); }

std::optional<double> ParseReal(std::string_view text) {
  const std::optional<double> number = ParseAll<double>(text);
  if (!number || !std::isfinite(*number)) return std::nullopt;
  return number;
}

std::string Nearest(std::string_view text, std::span<const std::string> words) {
  constexpr size_t kLongestKey = 64;  // bounds the work on hostile files
  if (text.size() > kLongestKey) return {};
  std::string nearest;
  // A third of the letters wrong is a slip, more is another word.
  size_t least = std::max<size_t>(1, text.size() / 3) + 1;
  for (const std::string& word : words) {
    const size_t distance = EditDistance(text, word);
    if (distance < least) {
      least = distance;
      nearest = word;
    }
  }
  return nearest;
}

}  // namespace bisparse::train
