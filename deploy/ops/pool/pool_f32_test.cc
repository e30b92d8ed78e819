// SPDX-License-Identifier: Apache-2.0
// Pooling against its definition, on every instruction set; the maximum exactly.
#include "deploy/ops/pool/pool_f32.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/pool/pool_f32_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

void Check(const PoolShape& s, Random& random) {
  SCOPED_TRACE(testing::Message() << "in " << s.in_h << "x" << s.in_w << "x" << s.channels
                                  << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride "
                                  << s.stride_h << "x" << s.stride_w << " pad " << s.pad_h << "x"
                                  << s.pad_w);
  const std::vector<float> x = random.Normals(int64_t{s.in_h} * s.in_w * s.channels);
  const int64_t elements = s.out_h() * s.out_w() * s.channels;
  ForEachIsa([&] {
    Guarded<float> max(elements), max_rows(elements), avg(elements), avg_rows(elements);
    MaxPoolF32(s, x.data(), 0, s.out_h(), max.data());
    AvgPoolF32(s, x.data(), 0, s.out_h(), avg.data());
    for (int64_t y = 0; y < s.out_h(); ++y) {
      MaxPoolF32(s, x.data(), y, y + 1, max_rows.data());
      AvgPoolF32(s, x.data(), y, y + 1, avg_rows.data());
    }
    ASSERT_TRUE(max.Intact() && avg.Intact() && max_rows.Intact() && avg_rows.Intact());
    const auto bytes = static_cast<size_t>(elements) * sizeof(float);
    ASSERT_EQ(std::memcmp(max.data(), max_rows.data(), bytes), 0);
    ASSERT_EQ(std::memcmp(avg.data(), avg_rows.data(), bytes), 0);
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t q = i / s.channels;
      const PoolRefValue ref = PoolRef(s, x.data(), q / s.out_w(), q % s.out_w(), i % s.channels);
      ASSERT_EQ(max[i], ref.max) << "element " << i;
      ASSERT_NEAR(avg[i], ref.avg, ref.avg_bound) << "element " << i;
    }
  });
}

TEST(Pool, WorkedByHand) {
  const PoolShape shape{.in_h = 2, .in_w = 2, .kernel_h = 2, .kernel_w = 2, .pad_h = 1};
  // Rows of windows: the upper row of the map, both rows, the lower row.
  const float x[] = {-4, -2, -6, -8};
  float y[3];
  MaxPoolF32(shape, x, 0, 3, y);
  EXPECT_EQ(std::vector<float>(y, y + 3), (std::vector<float>{-2, -2, -6}));
  AvgPoolF32(shape, x, 0, 3, y);
  EXPECT_EQ(std::vector<float>(y, y + 3), (std::vector<float>{-3, -5, -7}));
}

TEST(Pool, EveryNumberOfChannels) {
  Random random(1);
  for (int32_t channels = 1; channels <= 67; ++channels) {
    Check({.in_h = 4,
           .in_w = 5,
           .channels = channels,
           .kernel_h = 2,
           .kernel_w = 2,
           .stride_h = 2,
           .stride_w = 2},
          random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Pool, RandomShapes) {
  for (const uint64_t seed : TestSeeds(40)) {
    Random random(seed);
    PoolShape s;
    s.kernel_h = random.Int(1, 4), s.kernel_w = random.Int(1, 4);
    s.stride_h = random.Int(1, 3), s.stride_w = random.Int(1, 3);
    s.pad_h = random.Int(0, s.kernel_h - 1), s.pad_w = random.Int(0, s.kernel_w - 1);
    s.in_h = s.kernel_h + random.Int(0, 9), s.in_w = s.kernel_w + random.Int(0, 9);
    s.channels = random.Int(1, 70);
    Check(s, random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace bisparse::kernels
