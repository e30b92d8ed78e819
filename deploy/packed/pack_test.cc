// SPDX-License-Identifier: Apache-2.0
// The first test is the layer of docs/packing.md, number by number: change both together.
#include "deploy/packed/pack.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

// docs/packing.md: 5 inputs, 7 outputs, S = 2, L = 2, runs of 2 inputs; hence N = 2, R = 3.
TEST(Pack, TheLayerOfTheDocument) {
  const Layout layout({7, 5}, {2, 2, {2, RunTaps::kOne}});
  ASSERT_EQ(layout.sets, 2);
  ASSERT_EQ(layout.runs, 3);
  ASSERT_EQ(layout.outputs_padded(), 8);
  const std::vector<uint8_t> owner_nr = {0, 1, 0,   // set 0: block 0, block 1, block 0
                                         1, 0, 1};  // set 1: block 1, block 0, block 1
  const std::vector<float> weight_op = {
      1,  -2, 0,  0,  3,   // o = 0: set 0, block 0, lane 0
      4,  5,  0,  0,  -1,  // o = 1: set 0, block 0, lane 1
      0,  0,  2,  1,  0,   // o = 2: set 0, block 1, lane 0
      0,  0,  -3, 6,  0,   // o = 3: set 0, block 1, lane 1
      0,  0,  1,  -1, 0,   // o = 4: set 1, block 0, lane 0
      0,  0,  2,  4,  0,   // o = 5: set 1, block 0, lane 1
      -4, 3,  0,  0,  2,   // o = 6: set 1, block 1, lane 0
  };
  const std::vector<float> bias_o = {1, 0, 0, -1, 0, 2, 0, 0};

  // Combine.
  const std::vector<float> weight_pnl = Pack(layout, weight_op, owner_nr);
  EXPECT_THAT(weight_pnl, ElementsAre(1, 4, -4, 0,   // p = 0
                                      -2, 5, 3, 0,   // p = 1
                                      2, -3, 1, 2,   // p = 2
                                      1, 6, -1, 4,   // p = 3
                                      3, -1, 2, 0))  // p = 4
      << "the packed layer";
  EXPECT_EQ(CountOwned(layout, owner_nr), 17);

  // Select: the 3 largest of x = (3, 2, 5, −1, 2); of the two 2s the one with the lower index.
  const std::vector<int64_t> index_k = {0, 1, 2};
  const std::vector<float> value_k = {3, 2, 5};

  // Multiply, route, sum.
  std::vector<float> y = bias_o;
  std::vector<std::vector<float>> products_k;
  std::vector<std::vector<int64_t>> outputs_k;
  for (size_t k = 0; k < index_k.size(); ++k) {
    const int64_t p = index_k[k], r = layout.RunOf(p);
    std::vector<float>& products = products_k.emplace_back();
    std::vector<int64_t>& outputs = outputs_k.emplace_back();
    for (int32_t n = 0; n < layout.sets; ++n) {
      for (int32_t l = 0; l < layout.packing.lanes; ++l) {
        products.push_back(value_k[k] * weight_pnl[layout.Slot(p, n, l)]);
        outputs.push_back(layout.Output(n, layout.OwnerOfRun(owner_nr, n, r), l));
        y[outputs.back()] += products.back();
      }
    }
  }
  EXPECT_THAT(products_k, ElementsAre(ElementsAre(3, 12, -12, 0), ElementsAre(-4, 10, 6, 0),
                                      ElementsAre(10, -15, 5, 10)));
  EXPECT_THAT(outputs_k, ElementsAre(ElementsAre(0, 1, 6, 7), ElementsAre(0, 1, 6, 7),
                                     ElementsAre(2, 3, 4, 5)));
  EXPECT_THAT(y, ElementsAre(0, 22, 10, -16, 5, 12, -6, 0));
}

/// Owners drawn at random, and distinct weights in every place that they allow: o·P + p + 1.
struct Weights {
  std::vector<uint8_t> owner_nr;
  std::vector<float> weight_op;

  Weights(const Layout& layout, uint64_t seed) {
    CounterRandom random(seed, {1});
    for (int64_t i = 0; i < layout.owners(); ++i) {
      const int32_t blocks = layout.BlocksOfSet(static_cast<int32_t>(i / layout.runs));
      owner_nr.push_back(static_cast<uint8_t>(random.Below(static_cast<uint32_t>(blocks))));
    }
    weight_op.resize(layout.shape.weights());
    for (int64_t o = 0; o < layout.shape.outputs; ++o) {
      for (int64_t p = 0; p < layout.positions; ++p) {
        if (Owns(layout, o, p))
          Weight(layout, o, p) = static_cast<float>(o * layout.positions + p + 1);
      }
    }
  }

  bool Owns(const Layout& layout, int64_t o, int64_t p) const {
    const packed::OutputPlace place = layout.PlaceOf(o);
    return layout.Owner(owner_nr, place.n, p) == place.s;
  }
  float& Weight(const Layout& layout, int64_t o, int64_t p) {
    return weight_op[o * layout.positions + p];
  }
};

void CheckRoundTrip(const Layout& layout, uint64_t seed) {
  const Weights weights(layout, seed);
  const std::vector<float> weight_pnl = Pack(layout, weights.weight_op, weights.owner_nr);
  ASSERT_THAT(Unpack(layout, weight_pnl, weights.owner_nr), ElementsAreArray(weights.weight_op));
  // No slot with two owners: every weight is in one slot, and the other slots are padding.
  std::vector<int> slot_count(layout.shape.weights() + 1);
  for (const float weight : weight_pnl) ++slot_count.at(static_cast<size_t>(weight));
  int64_t owned = 0;
  for (size_t i = 0; i < weights.weight_op.size(); ++i) {
    const bool is_owned = weights.weight_op[i] != 0.0f;
    owned += is_owned;
    ASSERT_EQ(slot_count[i + 1], is_owned)
        << "output " << i / layout.positions << ", position " << i % layout.positions;
  }
  ASSERT_EQ(slot_count[0], layout.slots() - owned);
  ASSERT_EQ(CountOwned(layout, weights.owner_nr), owned);
  ASSERT_NO_THROW(ValidateOwners(layout, weights.owner_nr, "layer"));
}

TEST(Pack, UnpackGivesBackTheWeightsOfRandomLayers) {
  for (const uint64_t seed : TestSeeds(200)) {
    CounterRandom random(seed, {0});
    const auto draw = [&](uint32_t most) { return static_cast<int32_t>(1 + random.Below(most)); };
    const KernelShape shape{draw(70), draw(9), draw(4), draw(4)};
    const Packing packing{draw(7), draw(16), {draw(10), static_cast<RunTaps>(random.Below(3))}};
    CheckRoundTrip(Layout(shape, packing), seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Pack, UnpackGivesBackTheWeightsOfEverySizeThatDoesNotDivide) {
  for (int32_t set_size = 1; set_size <= 3; ++set_size) {
    for (int32_t lanes = 1; lanes <= 3; ++lanes) {
      for (int32_t outputs = 1; outputs <= 2 * set_size * lanes + 1; ++outputs) {
        for (int32_t channels = 1; channels <= 4; ++channels) {
          for (int32_t run_channels = 1; run_channels <= channels + 1; ++run_channels) {
            for (const RunTaps taps : {RunTaps::kOne, RunTaps::kRow, RunTaps::kAll}) {
              SCOPED_TRACE(testing::Message()
                           << "S " << set_size << ", L " << lanes << ", O " << outputs << ", I "
                           << channels << ", run " << run_channels << " channels, taps "
                           << static_cast<int>(taps));
              const Layout layout({outputs, channels, 2, 3},
                                  {set_size, lanes, {run_channels, taps}});
              CheckRoundTrip(layout, static_cast<uint64_t>(outputs));
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

template <typename Action>
std::string ErrorOf(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST(Pack, RefusesAWeightThatItsOwnerDoesNotAllow) {
  const Layout layout({7, 5}, {2, 2, {2, RunTaps::kOne}});
  for (int64_t o = 0; o < 7; ++o) {
    for (int64_t p = 0; p < 5; ++p) {
      Weights weights(layout, 3);
      if (weights.Owns(layout, o, p)) continue;
      const std::string place = fmt::format("output {}, position {} is ", o, p);
      for (const float weight : {0.5f, -1e-30f, std::numeric_limits<float>::quiet_NaN()}) {
        weights.Weight(layout, o, p) = weight;
        EXPECT_THAT(ErrorOf(ErrorKind::kInternal,
                            [&] { Pack(layout, weights.weight_op, weights.owner_nr); }),
                    HasSubstr(place));
      }
      weights.Weight(layout, o, p) = -0.0f;  // a zero
      EXPECT_NO_THROW(Pack(layout, weights.weight_op, weights.owner_nr));
    }
  }
}

TEST(Pack, RefusesArraysOfAnotherSize) {
  const Layout layout({7, 5}, {2, 2, {2, RunTaps::kOne}});
  const Weights weights(layout, 1);
  const std::vector<float> weight_pnl = Pack(layout, weights.weight_op, weights.owner_nr);
  const auto internal = [](auto action) { return ErrorOf(ErrorKind::kInternal, action); };
  const std::span<const float> short_op(weights.weight_op.data(), weights.weight_op.size() - 1);
  const std::span<const float> short_pnl(weight_pnl.data(), weight_pnl.size() - 1);
  const std::span<const uint8_t> short_nr(weights.owner_nr.data(), weights.owner_nr.size() - 1);
  EXPECT_THAT(internal([&] { Pack(layout, short_op, weights.owner_nr); }), HasSubstr("weight_op"));
  EXPECT_THAT(internal([&] { Unpack(layout, short_pnl, weights.owner_nr); }),
              HasSubstr("weight_pnl"));
  EXPECT_THAT(internal([&] { Pack(layout, weights.weight_op, short_nr); }), HasSubstr("owner_nr"));
  EXPECT_THAT(internal([&] { Unpack(layout, weight_pnl, short_nr); }), HasSubstr("owner_nr"));
  EXPECT_THAT(internal([&] { CountOwned(layout, short_nr); }), HasSubstr("owner_nr"));
}

TEST(ValidateOwners, NamesSetAndRun) {
  const Layout layout({9, 5}, {3, 2, {2, RunTaps::kOne}});  // set 1 has blocks 3 and 4 only
  std::vector<uint8_t> owner_nr = {0, 1, 2, 1, 0, 1};
  EXPECT_NO_THROW(ValidateOwners(layout, owner_nr, "layer 'a'"));
  owner_nr[2] = 3;
  EXPECT_EQ(ErrorOf(ErrorKind::kData, [&] { ValidateOwners(layout, owner_nr, "layer 'a'"); }),
            "layer 'a': owner of set 0, run 2 is 3, set size is 3");
  owner_nr[2] = 2;
  owner_nr[4] = 2;  // a block that pads the last set
  EXPECT_NO_THROW(ValidateOwners(layout, owner_nr, "layer 'a'"));
}

TEST(ValidateOwners, NamesTheCountThatIsWanted) {
  const Layout sparse({9, 5}, {3, 2, {2, RunTaps::kOne}}), dense({9, 5}, {1, 2});
  const std::vector<uint8_t> owner_nr(7);
  EXPECT_EQ(ErrorOf(ErrorKind::kData, [&] { ValidateOwners(sparse, owner_nr, "layer 'a'"); }),
            "layer 'a': 7 owners, 2 sets of 3 runs want 6");
  EXPECT_THAT(ErrorOf(ErrorKind::kData, [&] { ValidateOwners(dense, owner_nr, "layer 'a'"); }),
              HasSubstr("7 owners"));
  EXPECT_NO_THROW(ValidateOwners(dense, {}, "layer 'a'"));
}

TEST(CountOwned, CountsRealKernelsOnly) {
  // By hand: 3 outputs in blocks of 2, so block 1 has one real kernel; it owns 2 of 5 inputs.
  const Layout layout({3, 5}, {2, 2, {2, RunTaps::kOne}});
  const std::vector<uint8_t> owner_nr = {0, 1, 0};
  EXPECT_EQ(CountOwned(layout, owner_nr), 3 * 2 + 2 * 1);
  EXPECT_EQ(CountOwned(Layout({3, 5}, {1, 2}), {}), 15);
}

}  // namespace
}  // namespace bisparse::packed
