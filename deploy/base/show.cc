// SPDX-License-Identifier: Apache-2.0
// Read first: show.h.
#include "deploy/base/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "deploy/base/utf8.h"

namespace bisparse {
namespace {

uint32_t Byte(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

/// Of a character of `bytes` bytes, which `text` begins with.
uint32_t CodePoint(std::string_view text, size_t bytes) {
  if (bytes == 1) return Byte(text, 0);
  uint32_t code = Byte(text, 0) & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code = code << 6 | (Byte(text, i) & 0x3F);
  return code;
}

/// C0, DEL, C1 (0x9B begins a sequence as ESC [ does), marks and overrides of direction, separators of lines.
bool IsControl(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x200E && code <= 0x200F) ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

std::string Show(std::string_view text, bool lines) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const size_t bytes = Utf8Sequence(text);
    const uint32_t code = bytes == 0 ? Byte(text, 0) : CodePoint(text, bytes);
    if (bytes == 0 || (code < 0x20 && !(lines && (code == '\n' || code == '\t')))) {
      shown += fmt::format("\\x{:02x}", code);
    } else if (code >= 0x20 && IsControl(code)) {
      shown += fmt::format("\\u{:04x}", code);
    } else {
      shown += text.substr(0, bytes);
    }
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return shown;
}

}  // namespace

std::string Shown(std::string_view text) { return Show(text, false); }

std::string ShownLines(std::string_view text) { return Show(text, true); }

std::string NulShown(std::string text) {
  for (size_t at = 0; (at = text.find('\0', at)) != std::string::npos;)
    text.replace(at, 1, "\\x00");
  return text;
}

std::string ShellQuoted(const std::string& path) {
  if (path.starts_with('-')) return ShellQuoted("./" + path);
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./,:=@%+").find(c) != std::string_view::npos;
  };
  if (!path.empty() && std::all_of(path.begin(), path.end(), plain)) return path;
  const bool controls = Shown(path) != path;
  std::string quoted = controls ? "$'" : "'";
  for (const char c : path) {
    if (controls && (c == '\'' || c == '\\')) {
      quoted += fmt::format("\\{}", c);
    } else if (controls &&
               (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F)) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace bisparse
