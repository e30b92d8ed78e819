// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/size.h"

#include <gtest/gtest.h>

namespace bisparse {
namespace {

TEST(Size, CountsWhatFits) {
  EXPECT_EQ((Size(3) * 4 + 5).value(), 17);
  EXPECT_EQ((Size(1 << 30) * (1 << 30) * 7).value(), int64_t{7} << 60);
  EXPECT_EQ(Size(33).RoundUp(16).value(), 48);
  EXPECT_EQ(Size(32).RoundUp(16).value(), 32);
  EXPECT_EQ(Size(33).CeilDivide(16).value(), 3);
  EXPECT_EQ(Size(-1).value(), 0);
}

TEST(Size, StaysAtTheMostInsteadOfWrapping) {
  const Size large = Size(int64_t{1} << 40) * (int64_t{1} << 40);
  EXPECT_EQ(large.value(), Size::kMost);
  EXPECT_EQ((large + 1).value(), Size::kMost);
  EXPECT_EQ((large * 3 + large).value(), Size::kMost);
  EXPECT_EQ(large.RoundUp(64).value(), Size::kMost);
  EXPECT_EQ((large * 0).value(), 0);
  EXPECT_GT(large, Size(5));
  Size sum = 1;
  sum += Size::kMost;
  EXPECT_EQ(sum.value(), Size::kMost);
}

}  // namespace
}  // namespace bisparse
