// SPDX-License-Identifier: Apache-2.0
// k-WTA on bytes against sorting, on every instruction set.
#include "deploy/ops/kwta/kwta_u8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "deploy/base/test_seed.h"
#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

/// The definition of kwta.h: units sorted by rank, ties by index.
std::vector<int32_t> Winners(const KwtaU8Args& a) {
  const int32_t width = a.channels / a.groups, units = width / a.chunk;
  const int32_t spans = a.global ? 1 : a.positions, span = a.global ? a.positions : 1;
  std::vector<int32_t> winners;
  for (int32_t s = 0; s < spans; ++s) {
    for (int32_t g = 0; g < a.groups; ++g) {
      std::vector<int32_t> first;  // element of each unit
      for (int32_t p = 0; p < span; ++p) {
        for (int32_t u = 0; u < units; ++u) {
          first.push_back((s + p) * a.channels + g * width + u * a.chunk);
        }
      }
      const auto rank = [&](int32_t at) {
        return std::accumulate(a.x + at, a.x + at + a.chunk, 0);
      };
      std::stable_sort(first.begin(), first.end(),
                       [&](int32_t i, int32_t j) { return rank(i) > rank(j); });
      for (int32_t k = 0; k < a.winners / a.groups; ++k) {
        for (int32_t c = 0; c < a.chunk; ++c) winners.push_back(first[static_cast<size_t>(k)] + c);
      }
    }
  }
  std::sort(winners.begin(), winners.end());
  return winners;
}

TEST(KwtaU8, KwtaIsSortingWithTiesToTheLowestIndex) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 600; ++trial) {
      KwtaU8Args a;
      a.groups = random.Int(0, 2) ? random.Int(1, 9) : 8;
      a.chunk = random.Int(0, 3) ? 1 : random.Int(2, 4);
      const int32_t units =
          random.Int(0, 2) ? random.Int(1, 40) : 8 << (random.Int(0, 1) ? 0 : random.Int(1, 6));
      a.channels = a.groups * units * a.chunk;
      a.positions = random.Int(1, 20);
      a.global = random.Int(0, 1);
      a.winners = a.groups * (random.Int(0, 1) ? 1 : random.Int(1, units));
      const int32_t most = random.Int(0, 2) ? 255 : random.Int(0, 3);  // few values: many ties
      std::vector<uint8_t> x(static_cast<size_t>(a.positions * a.channels));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, most));
      a.x = x.data();
      const std::vector<int32_t> expected = Winners(a);
      const auto count = static_cast<int64_t>(expected.size());
      Guarded<int32_t> index(count + kKwtaSlack);
      Guarded<uint8_t> value(count + kKwtaSlack);
      a.index_k = index.data();
      a.value_k = value.data();
      KwtaU8(a);
      ASSERT_TRUE(index.Intact() && value.Intact());
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(index[i], expected[static_cast<size_t>(i)])
            << "winner " << i << ", trial " << trial
            << ": positions, channels, winners, groups, chunk, global = "
            << testing::PrintToString(std::vector<int>{a.positions, a.channels, a.winners, a.groups,
                                                       a.chunk, a.global});
        ASSERT_EQ(value[i], x[static_cast<size_t>(index[i])]);
      }
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
