// SPDX-License-Identifier: Apache-2.0
#include "deploy/packed/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "bisparse/error.h"
#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int64_t> RunsOf(const Layout& layout) {
  std::vector<int64_t> run_p;
  for (int64_t p = 0; p < layout.positions; ++p) run_p.push_back(layout.RunOf(p));
  return run_p;
}

// The numbers of docs/packing.md, "Convolutions": 3 channels, a 2×2 kernel, runs of 2 channels.
TEST(Layout, NumbersRunsAsInTheDocument) {
  const KernelShape shape{4, 3, 2, 2};
  const Layout one(shape, {2, 1, {2, RunTaps::kOne}});
  EXPECT_THAT(RunsOf(one), ElementsAre(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7));
  const Layout row(shape, {2, 1, {2, RunTaps::kRow}});
  EXPECT_THAT(RunsOf(row), ElementsAre(0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3));
  const Layout all(shape, {2, 1, {2, RunTaps::kAll}});
  EXPECT_THAT(RunsOf(all), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1));
}

struct Drawn {
  KernelShape shape;
  Packing packing;
};

Drawn DrawLayer(uint64_t seed) {
  CounterRandom random(seed, {});
  const auto draw = [&](uint32_t most) { return static_cast<int32_t>(1 + random.Below(most)); };
  Drawn drawn;
  drawn.shape = {draw(40), draw(7), draw(3), draw(4)};
  drawn.packing = {draw(5), draw(16), {draw(8), static_cast<RunTaps>(random.Below(3))}};
  return drawn;
}

TEST(Layout, EveryOutputAndSlotHasOneNumber) {
  for (const uint64_t seed : TestSeeds(300)) {
    const Drawn drawn = DrawLayer(seed);
    const Layout layout(drawn.shape, drawn.packing);
    std::vector<int> output_count(layout.outputs_padded()), slot_count(layout.slots());
    for (int32_t n = 0; n < layout.sets; ++n) {
      for (int32_t l = 0; l < drawn.packing.lanes; ++l) {
        for (int32_t s = 0; s < drawn.packing.set_size; ++s) {
          ++output_count.at(layout.Output(n, s, l));
        }
        for (int64_t p = 0; p < layout.positions; ++p) ++slot_count.at(layout.Slot(p, n, l));
      }
    }
    ASSERT_THAT(output_count, testing::Each(1));
    ASSERT_THAT(slot_count, testing::Each(1));
  }
}

TEST(Layout, ARunIsNeighbouringChannelsAndTheirTaps) {
  for (const uint64_t seed : TestSeeds(300)) {
    const Drawn drawn = DrawLayer(seed);
    const Layout layout(drawn.shape, drawn.packing);
    const KernelShape& k = drawn.shape;
    std::vector<int> position_count(layout.runs);
    int64_t p = 0;
    for (int32_t c = 0; c < k.channels; ++c) {
      for (int32_t ky = 0; ky < k.kernel_h; ++ky) {
        for (int32_t kx = 0; kx < k.kernel_w; ++kx, ++p) {
          int64_t expected = c / drawn.packing.run.channels;
          if (drawn.packing.run.taps == RunTaps::kOne) {
            expected = expected * k.kernel_h * k.kernel_w + ky * k.kernel_w + kx;
          } else if (drawn.packing.run.taps == RunTaps::kRow) {
            expected = expected * k.kernel_h + ky;
          }
          ASSERT_EQ(layout.RunOf(p), expected) << "position " << p;
          ++position_count.at(expected);
        }
      }
    }
    ASSERT_EQ(layout.positions, p);
    ASSERT_THAT(position_count, testing::Each(testing::Gt(0)));
  }
}

// Owners in an order of their own, so that a wrong index of owner_nr is another owner.
TEST(Layout, EachSlotOfARealKernelIsVisitedOnceAndBelongsToItsOwner) {
  for (const uint64_t seed : TestSeeds(300)) {
    const Drawn drawn = DrawLayer(seed);
    const Layout layout(drawn.shape, drawn.packing);
    CounterRandom random(seed, {1});
    std::vector<std::vector<uint8_t>> owner_of(static_cast<size_t>(layout.sets));
    std::vector<uint8_t> owner_nr;
    for (std::vector<uint8_t>& owner_r : owner_of) {
      for (int64_t r = 0; r < layout.runs; ++r) {
        const uint32_t owner = random.Below(static_cast<uint32_t>(drawn.packing.set_size));
        owner_r.push_back(static_cast<uint8_t>(owner));
      }
      if (drawn.packing.set_size > 1) {
        owner_nr.insert(owner_nr.end(), owner_r.begin(), owner_r.end());
      }
    }
    ASSERT_EQ(std::ssize(owner_nr), layout.owners());
    std::vector<int64_t> slots, expected;
    layout.ForEachSlot(owner_nr, [&](int64_t p, int32_t n, int32_t l, int64_t o, int64_t slot) {
      slots.push_back(slot);
      ASSERT_EQ(slot, layout.Slot(p, n, l));
      const int32_t s =
          owner_of.at(static_cast<size_t>(n)).at(static_cast<size_t>(layout.RunOf(p)));
      ASSERT_EQ(layout.Owner(owner_nr, n, p), s);
      ASSERT_EQ(o, layout.Output(n, s, l));
      const OutputPlace place = layout.PlaceOf(o);
      ASSERT_THAT((std::vector<int32_t>{place.n, place.s, place.l}), ElementsAre(n, s, l));
    });
    for (int64_t p = 0; p < layout.positions; ++p) {
      for (int64_t o = 0; o < drawn.shape.outputs; ++o) {
        const OutputPlace place = layout.PlaceOf(o);
        if (layout.Owner(owner_nr, place.n, p) != place.s) continue;
        expected.push_back(layout.Slot(p, place.n, place.l));
      }
    }
    ASSERT_EQ(slots, expected);
  }
}

TEST(Layout, PadsOutputsToWholeSetsAndNoFurther) {
  for (int32_t set_size = 1; set_size <= 4; ++set_size) {
    for (int32_t lanes = 1; lanes <= 4; ++lanes) {
      const int32_t outputs_of_set = set_size * lanes;
      for (int32_t outputs = 1; outputs <= 3 * outputs_of_set + 1; ++outputs) {
        SCOPED_TRACE(testing::Message()
                     << "O " << outputs << ", S " << set_size << ", L " << lanes);
        const Layout layout({outputs, 3}, {set_size, lanes});
        ASSERT_GE(layout.outputs_padded(), outputs);
        ASSERT_LT(layout.outputs_padded() - outputs, outputs_of_set);
        ASSERT_EQ(layout.outputs_padded() % outputs_of_set, 0);
        // Blocks with a real kernel come first in their set, and every set has one.
        for (int32_t n = 0; n < layout.sets; ++n) {
          int32_t expected = 0;
          while (expected < set_size && layout.Output(n, expected, 0) < outputs) ++expected;
          ASSERT_GE(expected, 1);
          ASSERT_EQ(layout.BlocksOfSet(n), expected) << "set " << n;
        }
      }
    }
  }
}

TEST(Layout, HasNoOwnersWhereItIsDense) {
  EXPECT_EQ(Layout({8, 5}, {1, 4}).owners(), 0);
  EXPECT_EQ(Layout({8, 5}, {2, 2}).owners(), 2 * 5);
}

TEST(LayoutFault, NamesTheSizeAndWhatIsAllowed) {
  const KernelShape shape{8, 4, 3, 3};
  const Packing packing{2, 4, {2, RunTaps::kRow}};
  EXPECT_EQ(LayoutFault(shape, packing), "");
  const auto with = [](auto value, auto change) {
    change(value);
    return value;
  };
  using K = KernelShape;
  using P = Packing;
  EXPECT_EQ(LayoutFault(with(shape, [](K& k) { k.outputs = 0; }), packing),
            "outputs = 0 is not in [1, 1048576]");
  EXPECT_EQ(LayoutFault(with(shape, [](K& k) { k.outputs = kMaxOutputs + 1; }), packing),
            "outputs = 1048577 is not in [1, 1048576]");
  EXPECT_EQ(LayoutFault(with(shape, [](K& k) { k.channels = -1; }), packing),
            "channels = -1 is not in [1, 2147483647]");
  EXPECT_EQ(LayoutFault(with(shape, [](K& k) { k.kernel_h = 0; }), packing),
            "kernel_h = 0 is not in [1, 4096]");
  EXPECT_EQ(LayoutFault(with(shape, [](K& k) { k.kernel_w = kMaxKernel + 1; }), packing),
            "kernel_w = 4097 is not in [1, 4096]");
  EXPECT_EQ(LayoutFault({1, INT32_MAX, kMaxKernel, kMaxKernel}, packing),
            "channels x kernel_h x kernel_w = 36028797002186752 is not in [1, 2147483647]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.set_size = 0; })),
            "set_size = 0 is not in [1, 64]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.set_size = 65; })),
            "set_size = 65 is not in [1, 64]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.lanes = 0; })),
            "lanes = 0 is not in [1, 16]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.lanes = 17; })),
            "lanes = 17 is not in [1, 16]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.run.channels = 0; })),
            "run.channels = 0 is not in [1, 2147483647]");
  EXPECT_EQ(LayoutFault(shape, with(packing, [](P& p) { p.run.taps = RunTaps{3}; })),
            "run.taps = 3 is not in [0, 2]");
}

TEST(LayoutFault, LimitsKeepEverySizeWithin64Bits) {
  const KernelShape shape{kMaxOutputs, INT32_MAX};
  ASSERT_EQ(LayoutFault(shape, {kMaxSetSize, kMaxLanes}), "");
  const Layout sparse(shape, {kMaxSetSize, kMaxLanes});
  EXPECT_EQ(sparse.owners(), int64_t{kMaxOutputs} / kMaxSetSize / kMaxLanes * INT32_MAX);
  const Layout dense(shape, {1, 1});
  EXPECT_EQ(dense.slots(), int64_t{kMaxOutputs} * INT32_MAX);
  EXPECT_EQ(dense.Slot(INT32_MAX - 1, kMaxOutputs - 1, 0), dense.slots() - 1);
}

TEST(Layout, CannotBeMadeOfAFault) {
  try {
    const Layout layout({8, 4}, {2, 17});
    FAIL() << "made with " << layout.packing.lanes << " lanes";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_THAT(error.what(), HasSubstr("lanes = 17"));
  }
}

}  // namespace
}  // namespace bisparse::packed
