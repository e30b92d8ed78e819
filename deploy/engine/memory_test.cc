// SPDX-License-Identifier: Apache-2.0
// Places by lifetime: by hand, and no two that are needed together overlap in random ones.
#include "deploy/engine/memory.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"

namespace bisparse {
namespace {

TEST(Arena, AChainTakesTwoPlacesInTurn) {
  Arena arena;
  EXPECT_EQ(arena.Take(100, 0, 1), 0);
  EXPECT_EQ(arena.Take(64, 1, 2), 128);
  EXPECT_EQ(arena.Take(128, 2, 3), 0);
  EXPECT_EQ(arena.Take(1, 3, 4), 128);
  EXPECT_EQ(arena.bytes(), 192);
}

TEST(Arena, WhatIsReadLaterKeepsItsPlace) {
  Arena arena;
  EXPECT_EQ(arena.Take(64, 0, 9), 0);
  EXPECT_EQ(arena.Take(64, 1, 2), 64);
  EXPECT_EQ(arena.Take(64, 2, 3), 128);
  EXPECT_EQ(arena.Take(64, 3, 4), 64);
  EXPECT_EQ(arena.Take(200, 4, 5), 128);
  EXPECT_EQ(arena.bytes(), 128 + 256);
}

TEST(Arena, WhatIsNeededTogetherNeverOverlaps) {
  for (const uint64_t seed : TestSeeds(50)) {
    CounterRandom random(seed, {8});
    struct Taken {
      int64_t begin, end, first, last;
    };
    std::vector<Taken> taken;
    Arena arena;
    for (int64_t step = 0; step < 60; ++step) {
      const int64_t bytes = 1 + static_cast<int64_t>(random.Below(500));
      const int64_t last = step + static_cast<int64_t>(random.Below(9));
      const int64_t begin = arena.Take(bytes, step, last);
      EXPECT_EQ(begin % 64, 0);
      EXPECT_LE(begin + bytes, arena.bytes());
      for (const Taken& other : taken) {
        const bool together = other.first <= last && step <= other.last;
        EXPECT_TRUE(!together || begin + bytes <= other.begin || other.end <= begin)
            << "step " << step;
      }
      taken.push_back({begin, begin + bytes, step, last});
    }
  }
}

TEST(Arena, SizesThatDoNotFitSaturate) {
  Arena arena;
  arena.Take(std::numeric_limits<int64_t>::max() - 10, 0, 1);
  arena.Take(1000, 0, 1);
  EXPECT_EQ(arena.bytes(), std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace bisparse
