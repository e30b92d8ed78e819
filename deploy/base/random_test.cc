// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace bisparse {
namespace {

// Data, owners and with them every trained network depend on these values: a change here changes
// them all.
TEST(CounterRandom, GivesTheSameNumbersForEver) {
  CounterRandom random(1, {2, 3});
  EXPECT_EQ(random.Next(), 0x0531D90296E479A8u);
  EXPECT_EQ(random.Next(), 0xFAB2E9395AC95EEDu);
}

TEST(CounterRandom, SeedAndEveryPartOfTheStreamMatter) {
  std::set<uint64_t> first;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (uint64_t a = 0; a < 8; ++a) {
      for (uint64_t b = 0; b < 8; ++b) first.insert(CounterRandom(seed, {a, b}).Next());
    }
    first.insert(CounterRandom(seed, {}).Next());
    first.insert(CounterRandom(seed, {0}).Next());
  }
  EXPECT_EQ(first.size(), 8u * 8 * 8 + 16);
}

TEST(CounterRandom, BelowIsEven) {
  for (uint32_t n : {1u, 2u, 3u, 7u, 10u}) {
    CounterRandom random(5, {n});
    std::vector<int> count(n);
    const int draws = 20000;
    for (int i = 0; i < draws; ++i) ++count.at(random.Below(n));
    for (int c : count) EXPECT_NEAR(c, draws / double(n), 5 * std::sqrt(draws / double(n))) << n;
  }
}

// Three quarters of 2^32 are where a plain remainder would draw the lower half twice as often.
TEST(CounterRandom, BelowIsUnbiasedForLargeN) {
  CounterRandom random(5, {});
  const uint32_t n = 0xC0000000u;
  int lower = 0;
  for (int i = 0; i < 20000; ++i) lower += random.Below(n) < n / 2;
  EXPECT_NEAR(lower, 10000, 5 * std::sqrt(5000.0));
}

TEST(CounterRandom, UniformStaysBelowOne) {
  CounterRandom random(9, {});
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    const float u = random.Uniform();
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    sum += u;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 5 * std::sqrt(1.0 / 12 / 20000));
}

TEST(CounterRandom, NormalHasMeanZeroAndVarianceOne) {
  CounterRandom random(9, {1});
  double sum = 0, squares = 0;
  int beyond_two = 0;
  const int draws = 40000;
  for (int i = 0; i < draws; ++i) {
    const double x = random.Normal();
    ASSERT_LT(std::abs(x), 6.0);
    sum += x;
    squares += x * x;
    beyond_two += std::abs(x) > 2;
  }
  EXPECT_NEAR(sum / draws, 0.0, 5 / std::sqrt(double(draws)));
  EXPECT_NEAR(squares / draws, 1.0, 5 * std::sqrt(2.0 / draws));
  EXPECT_NEAR(beyond_two / double(draws), 0.0455, 0.006);
}

}  // namespace
}  // namespace bisparse
