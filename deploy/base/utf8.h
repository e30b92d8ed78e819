// SPDX-License-Identifier: Apache-2.0
// Whether bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
// Tested in: utf8_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_UTF8_H_
#define BISPARSE_DEPLOY_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bisparse {

/// The length of the UTF-8 sequence that `text` begins with; 0 where it begins with none.
constexpr size_t Utf8Sequence(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// The index of the first byte that is not UTF-8; text.size() where all are.
constexpr size_t FirstNotUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = Utf8Sequence(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return at;
}

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_UTF8_H_
