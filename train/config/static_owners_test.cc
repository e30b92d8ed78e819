// SPDX-License-Identifier: Apache-2.0
#include "train/config/static_owners.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "deploy/base/test_seed.h"

namespace bisparse::train {
namespace {

using packed::KernelShape;
using packed::Layout;
using packed::Packing;
using packed::RunTaps;

// Runs that each block of set n owns.
std::vector<int64_t> Shares(const Layout& layout, const std::vector<uint8_t>& owner_nr, int32_t n) {
  std::vector<int64_t> share_s(static_cast<size_t>(layout.packing.set_size));
  for (int64_t r = 0; r < layout.runs; ++r) {
    ++share_s.at(owner_nr.at(static_cast<size_t>(n * layout.runs + r)));
  }
  return share_s;
}

TEST(StaticOwners, ThePapersLinearLayerHasConstantFanIn) {
  const Layout layout(KernelShape{1500, 1600, 1, 1}, Packing{25, 1, {}});
  const auto owner_nr = DrawStaticOwners(layout, 1, "linear1");
  ASSERT_EQ(owner_nr.size(), 60u * 1600u);
  for (int32_t n = 0; n < layout.sets; ++n) {
    EXPECT_EQ(Shares(layout, owner_nr, n), std::vector<int64_t>(25, 64)) << "set " << n;
  }
}

TEST(StaticOwners, SharesDifferByOneAtMostOverManyLayouts) {
  for (const int32_t outputs : {7, 64, 100}) {
    for (const int32_t set_size : {2, 3, 8}) {
      for (const RunTaps taps : {RunTaps::kOne, RunTaps::kRow, RunTaps::kAll}) {
        const Layout layout(KernelShape{outputs, 20, 3, 5}, Packing{set_size, 2, {3, taps}});
        const auto owner_nr = DrawStaticOwners(layout, 5, "x");
        ASSERT_EQ(static_cast<int64_t>(owner_nr.size()), layout.owners());
        for (int32_t n = 0; n < layout.sets; ++n) {
          const std::vector<int64_t> share_s = Shares(layout, owner_nr, n);
          const auto [least, most] = std::minmax_element(share_s.begin(), share_s.end());
          EXPECT_LE(*most - *least, 1)
              << "outputs " << outputs << " set size " << set_size << " set " << n;
        }
      }
    }
  }
}

TEST(StaticOwners, EveryBlockSeesEveryPartOfTheInput) {
  // conv2 of gsc_aligned: 2 parts of 32 channels × 5 rows for 4 blocks.
  const Layout layout(KernelShape{64, 64, 5, 5}, Packing{4, 16, {32, RunTaps::kRow}});
  ASSERT_EQ(layout.runs, 10);
  for (const uint64_t seed : TestSeeds(100)) {
    const auto owner_nr = DrawStaticOwners(layout, seed, "conv2");
    for (size_t part = 0; part < 2; ++part) {
      const std::set<uint8_t> owners(owner_nr.begin() + static_cast<ptrdiff_t>(part * 5),
                                     owner_nr.begin() + static_cast<ptrdiff_t>(part * 5 + 5));
      EXPECT_GE(owners.size(), 3u);
    }
  }
}

TEST(StaticOwners, PureInSeedAndNameAndDifferentBetweenThem) {
  const Layout layout(KernelShape{64, 64, 5, 5}, Packing{8, 1, {}});
  const auto owner_nr = DrawStaticOwners(layout, 1, "conv2");
  EXPECT_EQ(owner_nr, DrawStaticOwners(layout, 1, "conv2"));
  EXPECT_NE(owner_nr, DrawStaticOwners(layout, 2, "conv2"));
  EXPECT_NE(owner_nr, DrawStaticOwners(layout, 1, "conv3"));
  const auto runs = static_cast<ptrdiff_t>(layout.runs);
  EXPECT_FALSE(std::equal(owner_nr.begin(), owner_nr.begin() + runs, owner_nr.begin() + runs))
      << "sets 0 and 1 are alike";
  // The first numbers of one draw, so that a change of the rule cannot pass unseen: trained runs
  // depend on it.
  const Layout small(KernelShape{8, 4, 1, 1}, Packing{4, 1, {}});
  EXPECT_EQ(DrawStaticOwners(small, 1, "a"), (std::vector<uint8_t>{1, 3, 0, 2, 3, 2, 0, 1}));
}

TEST(StaticOwners, ADenseLayerHasNone) {
  EXPECT_TRUE(
      DrawStaticOwners(Layout(KernelShape{8, 4, 1, 1}, Packing{1, 16, {}}), 1, "a").empty());
}

}  // namespace
}  // namespace bisparse::train
