// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace bisparse {
namespace {

using Limits = std::numeric_limits<float>;

TEST(FirstBeyond, FindsEveryPlaceOfEveryWidth) {
  for (const float wrong :
       {Limits::quiet_NaN(), -Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(),
        std::nextafter(2.0f, 3.0f), -3.0f, Limits::max()}) {
    for (size_t width = 1; width < 100; ++width) {
      std::vector<float> x(width, -2.0f);
      x[width / 2] = 0;
      EXPECT_EQ(FirstBeyond(x, 2.0f), -1);
      for (size_t at = width; at-- > 0;) {
        x[at] = wrong;  // later ones stay wrong: the first is asked for
        ASSERT_EQ(FirstBeyond(x, 2.0f), static_cast<int64_t>(at)) << wrong << " of " << width;
      }
    }
  }
}

TEST(FirstBeyond, TakesEveryFiniteNumberAtTheLargestLimit) {
  const float x[] = {Limits::max(), Limits::lowest(), Limits::denorm_min(), -0.0f};
  EXPECT_EQ(FirstBeyond(x, Limits::max()), -1);
  EXPECT_EQ(FirstBeyond({}, 1.0f), -1);
}

}  // namespace
}  // namespace bisparse
