// SPDX-License-Identifier: Apache-2.0
// Owners by saliency: the largest, and the best balanced choice against all choices.
#include "train/nn/choose_owners.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "deploy/base/test_seed.h"

namespace bisparse::train {
namespace {

std::vector<float> Draw(std::mt19937& random, int64_t size, bool ties) {
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values) {
    value = ties ? static_cast<float>(random() % 3)
                 : std::uniform_real_distribution<float>(0, 1)(random);
  }
  return values;
}

double Sum(const std::vector<float>& saliency_sr, const std::vector<uint8_t>& owner_r) {
  double sum = 0;
  for (size_t r = 0; r < owner_r.size(); ++r) sum += saliency_sr[owner_r[r] * owner_r.size() + r];
  return sum;
}

bool IsBalanced(const std::vector<uint8_t>& owner_r, int64_t kernels) {
  std::vector<int64_t> counts(static_cast<size_t>(kernels));
  for (const uint8_t owner : owner_r) ++counts[owner];
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return *most - *least <= 1;
}

/// The largest sum of all balanced choices, each tried.
double BestSum(const std::vector<float>& saliency_sr, int64_t kernels, int64_t runs) {
  double best = -1;
  std::vector<uint8_t> owner_r(static_cast<size_t>(runs), 0);
  while (true) {
    if (IsBalanced(owner_r, kernels)) best = std::max(best, Sum(saliency_sr, owner_r));
    size_t r = 0;
    while (r < owner_r.size() && ++owner_r[r] == kernels) owner_r[r++] = 0;
    if (r == owner_r.size()) return best;
  }
}

TEST(ChooseOwners, TheLargestOwnsAndTiesGoToTheFirst) {
  const std::vector<float> saliency_sr = {1, 5, 2, 0,   // kernel 0
                                          3, 5, 2, 0,   // kernel 1
                                          2, 6, 2, 0};  // kernel 2
  EXPECT_EQ(LargestOwners(saliency_sr, 3), (std::vector<uint8_t>{1, 2, 0, 0}));
}

TEST(ChooseOwners, BalancedIsTheBestOfAllBalancedChoices) {
  for (const uint64_t seed : TestSeeds(300)) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    const int64_t kernels = 1 + random() % 4;
    const int64_t runs = 1 + random() % (kernels == 4 ? 6 : 8);
    const std::vector<float> saliency_sr = Draw(random, kernels * runs, seed % 3 == 0);
    SCOPED_TRACE(fmt::format("{} kernels, {} runs", kernels, runs));
    const std::vector<uint8_t> owner_r = BalancedOwners(saliency_sr, kernels);
    ASSERT_EQ(static_cast<int64_t>(owner_r.size()), runs);
    ASSERT_TRUE(IsBalanced(owner_r, kernels));
    ASSERT_NEAR(Sum(saliency_sr, owner_r), BestSum(saliency_sr, kernels, runs), 1e-5);
  }
}

TEST(ChooseOwners, BalancesALayerOfRealSizeInTime) {
  std::mt19937 random(6);
  // One kernel wants everything: almost every run has to move.
  std::vector<float> saliency_sr = Draw(random, 64 * 1600, false);
  for (int64_t r = 0; r < 1600; ++r) saliency_sr[r] += 2;
  EXPECT_TRUE(IsBalanced(BalancedOwners(saliency_sr, 64), 64));
}

}  // namespace
}  // namespace bisparse::train
