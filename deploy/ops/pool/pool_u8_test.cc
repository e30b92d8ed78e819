// SPDX-License-Identifier: Apache-2.0
// Pools against plain loops, on every instruction set.
#include "deploy/ops/pool/pool_u8.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

TEST(PoolU8, PoolsTakeTheLargestAndTheAverageRoundedHalfUp) {
  ForEachIsa([] {
    Random random(5);
    for (int trial = 0; trial < 200; ++trial) {
      PoolShape s{.in_h = random.Int(3, 8),
                  .in_w = random.Int(3, 8),
                  .channels = random.Int(1, 140),
                  .kernel_h = random.Int(1, 3),
                  .kernel_w = random.Int(1, 3),
                  .stride_h = random.Int(1, 3),
                  .stride_w = random.Int(1, 3)};
      s.pad_h = random.Int(0, static_cast<int32_t>(s.kernel_h) - 1);
      s.pad_w = random.Int(0, static_cast<int32_t>(s.kernel_w) - 1);
      if (trial % 100 ==
          0) {  // the whole of a large map: sums near halves, past 2^14 positions too
        s.in_h = s.kernel_h = random.Int(100, 140);
        s.in_w = s.kernel_w = random.Int(100, 140);
        s.pad_h = s.pad_w = 0;
      }
      std::vector<uint8_t> x(static_cast<size_t>(s.in_h * s.in_w * s.channels));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
      const int64_t elements = s.out_h() * s.out_w() * s.channels;
      Guarded<uint8_t> largest(elements), average(elements);
      MaxPoolU8(s, x.data(), largest.data());
      AvgPoolU8(s, x.data(), average.data());
      ASSERT_TRUE(largest.Intact() && average.Intact());
      for (int64_t e = 0; e < elements; ++e) {
        const int64_t c = e % s.channels, oy = e / s.channels / s.out_w(),
                      ox = e / s.channels % s.out_w();
        int most = 0, sum = 0, count = 0;
        for (int64_t y = oy * s.stride_h - s.pad_h; y < oy * s.stride_h - s.pad_h + s.kernel_h;
             ++y) {
          for (int64_t i = ox * s.stride_w - s.pad_w; i < ox * s.stride_w - s.pad_w + s.kernel_w;
               ++i) {
            if (y < 0 || y >= s.in_h || i < 0 || i >= s.in_w) continue;
            const int v = x[static_cast<size_t>((y * s.in_w + i) * s.channels + c)];
            most = std::max(most, v);
            sum += v;
            ++count;
          }
        }
        ASSERT_EQ(largest[e], most) << "element " << e;
        ASSERT_EQ(average[e], static_cast<int>(static_cast<double>(sum) / count + 0.5))
            << "element " << e;
      }
    }
  });
}

TEST(PoolU8, AveragesOfTheLargestWindowAreExact) {
  const int32_t size = packed::kMaxKernel;
  const PoolShape s{.in_h = size, .in_w = size, .channels = 1, .kernel_h = size, .kernel_w = size};
  std::vector<uint8_t> x(static_cast<size_t>(size) * static_cast<size_t>(size));
  for (const int value : {255, 200, 70, 1}) {
    std::fill(x.begin(), x.end(), static_cast<uint8_t>(value));
    Guarded<uint8_t> average(1), largest(1);
    AvgPoolU8(s, x.data(), average.data());
    MaxPoolU8(s, x.data(), largest.data());
    EXPECT_EQ(average[0], value);
    EXPECT_EQ(largest[0], value);
    // One below half is rounded down, half is rounded up.
    std::fill_n(x.begin(), x.size() / 2 + 1, static_cast<uint8_t>(value - 1));
    AvgPoolU8(s, x.data(), average.data());
    EXPECT_EQ(average[0], value - 1);
    x[0] = static_cast<uint8_t>(value);
    AvgPoolU8(s, x.data(), average.data());
    EXPECT_EQ(average[0], value);
  }
}

TEST(PoolU8, AveragesAreTheSameInEveryModeOfFloats) {
  ForEachIsa([] {
    Random random(6);
    for (int32_t size = 1; size <= 128; size += 9) {  // up to 2^14 positions in vectors
      const PoolShape s{
          .in_h = size, .in_w = size, .channels = 70, .kernel_h = size, .kernel_w = size};
      std::vector<uint8_t> x(static_cast<size_t>(s.in_h * s.in_w * s.channels));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
      std::vector<std::vector<uint8_t>> y;
      ForEachFloatMode([&] { AvgPoolU8(s, x.data(), y.emplace_back(70).data()); });
      for (size_t mode = 1; mode < y.size(); ++mode) {
        EXPECT_EQ(y[mode], y[0]) << "size " << size << ", mode " << mode;
      }
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
