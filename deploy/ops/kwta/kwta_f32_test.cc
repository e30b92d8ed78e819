// SPDX-License-Identifier: Apache-2.0
// k-WTA against sorting, exactly: values, indices, order, ties, NaN, infinities, groups, chunks,
// both scopes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "deploy/base/test_seed.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/kwta/kwta_ref.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

void Check(KwtaF32Args args) {
  const int64_t count = KwtaCountF32(args);
  Guarded<int32_t> index_k(count + kKwtaSlack), begin_p(args.positions + 1);
  Guarded<float> value_k(count + kKwtaSlack), scratch(KwtaScratchFloats(args));
  args.index_k = index_k.data();
  args.value_k = value_k.data();
  args.begin_p = begin_p.data();
  args.scratch = scratch.data();
  KwtaF32(args);
  ASSERT_TRUE(index_k.Intact() && value_k.Intact() && begin_p.Intact() && scratch.Intact());
  const std::vector<int32_t> expected = KwtaReference(args);
  ASSERT_EQ(static_cast<int64_t>(expected.size()), count);
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(index_k[i], expected[static_cast<size_t>(i)]) << "winner " << i;
    const float x = args.x[index_k[i]];
    ASSERT_EQ(value_k[i], x > 0.0f ? x : 0.0f) << "winner " << i;
  }
  for (int32_t p = 0; p <= args.positions; ++p) {
    const auto at = std::lower_bound(expected.begin(), expected.end(), p * args.channels);
    ASSERT_EQ(begin_p[p], at - expected.begin()) << "position " << p;
  }
  std::vector<float> dense(static_cast<size_t>(args.positions) * args.channels, 7.0f);
  ScatterWinnersF32(args.index_k, args.value_k, count, dense.data(),
                    static_cast<int64_t>(dense.size()));
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(dense[static_cast<size_t>(index_k[i])], value_k[i]);
    dense[static_cast<size_t>(index_k[i])] = 0.0f;
  }
  for (const float left : dense) ASSERT_EQ(left, 0.0f);
}

std::string Text(const KwtaF32Args& a) {
  return testing::PrintToString(
             std::vector<int>{a.positions, a.channels, a.winners, a.groups, a.chunk, a.global}) +
         " = positions, channels, winners, groups, chunk, global";
}

TEST(KwtaF32, WorkedExample) {
  const float x[] = {1, 5, -2, 5, 0, 3, 3, 9};
  ForEachIsa([&] {
    KwtaF32Args args{.x = x, .positions = 2, .channels = 4, .winners = 1};
    EXPECT_EQ(KwtaReference(args), (std::vector<int32_t>{1, 7}));
    Check(args);
    args.global = true;
    args.winners = 3;
    EXPECT_EQ(KwtaReference(args), (std::vector<int32_t>{1, 3, 7}));
    Check(args);
  });
}

TEST(KwtaF32, EveryWidthAndEveryCount) {
  ForEachIsa([&] {
    Random random(1);
    for (int32_t channels = 1; channels <= 67; ++channels) {
      const std::vector<float> x = random.Normals(3 * channels);
      for (int32_t k = 1; k <= channels; k += 1 + k / 4) {
        for (const bool global : {false, true}) {
          KwtaF32Args args{
              .x = x.data(), .positions = 3, .channels = channels, .winners = k, .global = global};
          SCOPED_TRACE(Text(args));
          Check(args);
          if (HasFatalFailure()) return;
        }
      }
    }
  });
}

TEST(KwtaF32, RandomGroupsChunksScopesAndTies) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 400; ++trial) {
      KwtaF32Args args;
      args.groups = random.Int(1, 9);
      args.chunk = random.Int(0, 2) ? 1 : random.Int(2, 5);
      const int32_t units = random.Int(0, 1) ? 1 << random.Int(0, 5) : random.Int(1, 40);
      args.channels = args.groups * args.chunk * units;
      args.positions = random.Int(1, 30);
      args.global = random.Int(0, 1);
      const int32_t most = units * (args.global ? args.positions : 1);
      args.winners = args.groups * (random.Int(0, 1) ? 1 : random.Int(1, most));
      std::vector<float> x = random.Normals(int64_t{args.positions} * args.channels);
      const int32_t levels =
          random.Int(0, 3);  // 0: no ties; else values on a grid, zeros of both signs among them
      if (levels) {
        for (float& value : x) value = std::round(value * static_cast<float>(levels));
      }
      args.x = x.data();
      SCOPED_TRACE("trial " + std::to_string(trial) + " " + Text(args));
      Check(args);
      if (HasFatalFailure()) return;
    }
  });
}

TEST(KwtaF32, AfterAPool) {
  ForEachIsa([&] {
    Random random(5);
    for (int trial = 0; trial < 60; ++trial) {
      const int32_t channels = random.Int(1, 5) * 16;
      const PoolShape pool{.in_h = random.Int(2, 13),
                           .in_w = random.Int(2, 13),
                           .channels = channels,
                           .kernel_h = 2,
                           .kernel_w = 2,
                           .stride_h = 2,
                           .stride_w = 2};
      std::vector<float> x = random.Normals(int64_t{pool.in_h} * pool.in_w * channels);
      if (trial % 3 == 0) {
        for (float& value : x) value = std::round(value);
      }
      const auto positions = static_cast<int32_t>(pool.out_h() * pool.out_w());
      std::vector<float> pooled(static_cast<size_t>(positions) * static_cast<size_t>(channels));
      MaxPoolF32(pool, x.data(), 0, pool.out_h(), pooled.data());
      KwtaF32Args args{.x = pooled.data(),
                       .positions = positions,
                       .channels = channels,
                       .winners = random.Int(1, positions * channels / random.Int(1, 12)),
                       .global = true};
      SCOPED_TRACE(Text(args) + ", pool_w " + std::to_string(pool.in_w));
      ASSERT_TRUE(KwtaPoolsF32(args));
      const int64_t count = KwtaCountF32(args);
      Guarded<int32_t> index_k(count + kKwtaSlack);
      Guarded<float> value_k(count + kKwtaSlack), scratch(KwtaScratchFloats(args));
      args.index_k = index_k.data();
      args.value_k = value_k.data();
      args.scratch = scratch.data();
      const std::vector<int32_t> expected = KwtaReference(args);
      args.x = x.data();
      args.pool_w = pool.in_w;
      KwtaF32(args);
      ASSERT_TRUE(index_k.Intact() && value_k.Intact() && scratch.Intact());
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(index_k[i], expected[static_cast<size_t>(i)]) << "winner " << i;
        ASSERT_EQ(value_k[i], std::max(0.0f, pooled[static_cast<size_t>(index_k[i])]));
      }
    }
  });
}

TEST(KwtaF32, OddValues) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const float tiny = std::numeric_limits<float>::denorm_min();
  const std::vector<float> values = {nan,    -inf,  inf,   -0.0f, 0.0f, tiny,
                                     1e-30f, 1e30f, 3e38f, -nan,  1.0f, inf};
  ForEachIsa([&] {
    Random random(3);
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<float> x(4 * 64);
      for (float& value : x) value = values[static_cast<size_t>(random.Int(0, trial % 2 ? 11 : 4))];
      for (const bool global : {false, true}) {
        for (const int32_t groups : {1, 2, 8}) {
          KwtaF32Args args{.x = x.data(),
                           .positions = 4,
                           .channels = 64,
                           .winners = groups * random.Int(1, 64 / groups),
                           .groups = groups,
                           .global = global};
          SCOPED_TRACE(Text(args));
          Check(args);
          args.winners = groups;
          Check(args);
          if (HasFatalFailure()) return;
        }
      }
    }
  });
}

TEST(KwtaF32, LargeMapsOfEverySpread) {
  ForEachIsa([&] {
    Random random(4);
    for (const float power : {1.0f, 9.0f, 0.01f}) {
      std::vector<float> x = random.Normals(25000);
      for (float& value : x) value = std::copysign(std::pow(std::abs(value), power), value);
      KwtaF32Args args{
          .x = x.data(), .positions = 1, .channels = 25000, .winners = 3125, .global = true};
      Check(args);
      args.winners = 20000;  // more than are positive: zeros from the lowest index on
      Check(args);
      std::fill(x.begin(), x.end(), -1.0f);
      Check(args);
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
