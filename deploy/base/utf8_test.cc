// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace bisparse {
namespace {

std::string Encode(uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, TakesEveryCodePointButSurrogates) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const std::string text = Encode(code);
    const bool allowed = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    ASSERT_EQ(Utf8Sequence(text + "x"), allowed ? text.size() : 0) << std::hex << code;
    // Cut short it is nothing.
    if (text.size() == 1) continue;
    ASSERT_EQ(Utf8Sequence(text.substr(0, text.size() - 1)), 0u) << code;
  }
}

TEST(Utf8, FindsTheFirstByteThatIsNone) {
  EXPECT_EQ(FirstNotUtf8(""), 0u);
  EXPECT_EQ(FirstNotUtf8("büro"), 5u);
  EXPECT_EQ(FirstNotUtf8("b\xFCro"), 1u);           // Latin-1
  EXPECT_EQ(FirstNotUtf8("ab\xC0\x80"), 2u);        // overlong
  EXPECT_EQ(FirstNotUtf8("ab\xE0\x80\x80"), 2u);    // overlong
  EXPECT_EQ(FirstNotUtf8("\xF0\x80\x80\x80"), 0u);  // overlong
  EXPECT_EQ(FirstNotUtf8("x\x80"), 1u);             // no first byte
  EXPECT_EQ(FirstNotUtf8(std::string("a\0b", 3)), 3u);
}

}  // namespace
}  // namespace bisparse
