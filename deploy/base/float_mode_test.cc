// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/float_mode.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

namespace bisparse {
namespace {

/// At run time, whatever the compiler knows of a and b.
float Divide(float a, float b) {
  volatile float x = a, y = b;
  return x / y;
}

TEST(StandardFloatMode, RoundsToNearestAndGivesTheHostsModeBack) {
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    // The nearest float is below 5/3, and above 1/3.
    const float a = mode == FE_UPWARD ? 5 : 1, nearest = Divide(a, 3);
    ASSERT_EQ(std::fesetround(mode), 0);
    const float theirs = Divide(a, 3);
    float ours = 0;
    {
      const StandardFloatMode standard;
      ours = Divide(a, 3);
    }
    const int after = std::fegetround();
    const float again = Divide(a, 3);
    std::fesetround(FE_TONEAREST);
    EXPECT_NE(theirs, nearest);
    EXPECT_EQ(ours, nearest);
    EXPECT_EQ(after, mode);
    EXPECT_EQ(again, theirs);
  }
}

#if defined(__x86_64__)
TEST(StandardFloatMode, KeepsSubnormalNumbers) {
  const float smallest = std::numeric_limits<float>::min();
  const uint32_t before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040);  // results and operands below it become 0
  const float flushed = Divide(smallest, 2);
  float kept = 0;
  {
    const StandardFloatMode standard;
    kept = Divide(smallest, 2);
  }
  __builtin_ia32_ldmxcsr(before);
  EXPECT_EQ(flushed, 0.0f);
  EXPECT_EQ(kept, smallest / 2);
}
#endif

}  // namespace
}  // namespace bisparse
