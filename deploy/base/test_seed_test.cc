// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/test_seed.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>

#include <vector>

namespace bisparse {
namespace {

using testing::ElementsAre;

/// Sets BISPARSE_TEST_SEED, or takes it away, and puts back what it was.
class Environment {
 public:
  explicit Environment(const char* seed) {
    if (const char* before = std::getenv("BISPARSE_TEST_SEED")) before_ = before;
    Set(seed);
  }
  ~Environment() { Set(before_ ? before_->c_str() : nullptr); }

 private:
  static void Set(const char* seed) {
    seed == nullptr ? unsetenv("BISPARSE_TEST_SEED") : setenv("BISPARSE_TEST_SEED", seed, 1);
  }
  std::optional<std::string> before_;
};

std::vector<uint64_t> SeedsOf(const TestSeeds& seeds) {
  std::vector<uint64_t> list;
  for (const uint64_t seed : seeds) list.push_back(seed);
  return list;
}

TEST(TestSeeds, CountUnlessOneIsGiven) {
  {
    const Environment none(nullptr);
    EXPECT_FALSE(TestSeedIsGiven());
    EXPECT_THAT(SeedsOf(TestSeeds(3)), ElementsAre(0, 1, 2));
    EXPECT_THAT(SeedsOf(TestSeeds(5, 7)), ElementsAre(5, 6));
    EXPECT_THAT(SeedsOf(TestSeeds(0)), ElementsAre());
  }
  const Environment given("18446744073709551614");
  EXPECT_TRUE(TestSeedIsGiven());
  EXPECT_THAT(SeedsOf(TestSeeds(3)), ElementsAre(18446744073709551614u));
  EXPECT_EQ(TestSeed(), 18446744073709551614u);
}

TEST(TestSeed, IsAnotherOneInEachRun) {
  const Environment none(nullptr);
  EXPECT_NE(TestSeed(), TestSeed());
}

TEST(TestSeeds, AFailureNamesTheSeedThatTheLoopIsAt) {
  const Environment none(nullptr);
  EXPECT_NONFATAL_FAILURE(
      {
        for (const uint64_t seed : TestSeeds(5, 9)) {
          if (seed == 7) ADD_FAILURE();
        }
      },
      "seed 7 (alone with BISPARSE_TEST_SEED=7)");
  const Environment given("12");
  EXPECT_NONFATAL_FAILURE(
      {
        const TestSeed seed;
        ADD_FAILURE();
      },
      "seed 12 (alone with BISPARSE_TEST_SEED=12)");
}

TEST(TestSeeds, AnyOtherTextEndsTheProgram) {
  for (const char* text : {"-1", "7 ", "x", "0x10"}) {
    const Environment wrong(text);
    EXPECT_DEATH(TestSeedIsGiven(), "is no whole number from 0");
  }
}

}  // namespace
}  // namespace bisparse
