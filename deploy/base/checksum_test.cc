// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/checksum.h"

#include <gtest/gtest.h>

#include <array>
#include <string_view>

namespace bisparse {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The values that the xxHash specification's own vectors and the program `xxhsum -H1` give.
TEST(XxHash64, GivesTheSpecifiedValues) {
  EXPECT_EQ(XxHash64({}), 0xEF46DB3751D8E999u);
  EXPECT_EQ(XxHash64(Bytes("abc")), 0x44BC2CF5AD770999u);
}

TEST(XxHash64, ChangesWithEveryBit) {
  std::array<uint8_t, 100> bytes{};
  const uint64_t before = XxHash64(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= uint8_t(1u << (bit % 8));
    EXPECT_NE(XxHash64(bytes), before) << "bit " << bit;
    bytes[bit / 8] ^= uint8_t(1u << (bit % 8));
  }
}

}  // namespace
}  // namespace bisparse
