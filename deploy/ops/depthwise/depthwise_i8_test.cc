// SPDX-License-Identifier: Apache-2.0
// The int8 depthwise convolution against its definition on every instruction set: integers, so no
// tolerance; the extreme products too.
#include "deploy/ops/depthwise/depthwise_i8.h"

#include <gtest/gtest.h>

#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/depthwise/depthwise_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

void Check(const PoolShape& s, uint8_t zero, int extreme, Random& random) {
  SCOPED_TRACE(testing::Message() << "in " << s.in_h << "x" << s.in_w << "x" << s.channels
                                  << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride "
                                  << s.stride_h << "x" << s.stride_w << " pad " << s.pad_h << "x"
                                  << s.pad_w << " zero " << int{zero});
  const int64_t stride = s.channels + random.Int(0, 3);
  std::vector<uint8_t> x(static_cast<size_t>(int64_t{s.in_h} * s.in_w * s.channels));
  std::vector<int8_t> weight(
      static_cast<size_t>((s.kernel_h * s.kernel_w - 1) * stride + s.channels));
  std::vector<int32_t> bias(static_cast<size_t>(s.channels));
  for (uint8_t& v : x) v = static_cast<uint8_t>(extreme != 0 ? 255 : random.Int(0, 255));
  for (int8_t& v : weight) {
    v = static_cast<int8_t>(extreme != 0 ? extreme : random.Int(-127, 127));
  }
  for (int32_t& v : bias) v = random.Int(-100000, 100000);
  for (int64_t row = 0; row < s.out_h(); ++row) {
    Guarded<int32_t> acc(s.out_w() * s.channels);
    DepthwiseI8({.shape = s,
                 .x_yxc = x.data(),
                 .zero = zero,
                 .weight_pc = weight.data(),
                 .weight_stride = stride,
                 .bias_c = bias.data(),
                 .row = row,
                 .acc = acc.data()});
    ASSERT_TRUE(acc.Intact());
    for (int64_t i = 0; i < s.out_w() * s.channels; ++i) {
      const DepthwiseRefValue ref = DepthwiseRef(s, x.data(), zero, weight.data(), stride,
                                                 bias.data(), row, i / s.channels, i % s.channels);
      ASSERT_EQ(acc[i], ref.value)
          << "row " << row << ", column " << i / s.channels << ", channel " << i % s.channels;
    }
  }
}

TEST(DepthwiseI8, WorkedByHand) {
  // Two channels of 1×2, windows of 1×2 with one column of 9 on each side.
  const uint8_t x[] = {200, 5, 255, 6};
  const int8_t weight[] = {127, -2, -127, 3};
  const int32_t bias[] = {1, -1};
  Guarded<int32_t> acc(6);
  DepthwiseI8({.shape = {.in_h = 1, .in_w = 2, .channels = 2, .kernel_w = 2, .pad_w = 1},
               .x_yxc = x,
               .zero = 9,
               .weight_pc = weight,
               .weight_stride = 2,
               .bias_c = bias,
               .acc = acc.data()});
  EXPECT_EQ(
      std::vector<int32_t>(acc.data(), acc.data() + 6),
      (std::vector<int32_t>{9 * 127 - 200 * 127 + 1, -9 * 2 + 5 * 3 - 1, 200 * 127 - 255 * 127 + 1,
                            -5 * 2 + 6 * 3 - 1, 255 * 127 - 9 * 127 + 1, -6 * 2 + 9 * 3 - 1}));
  EXPECT_TRUE(acc.Intact());
}

TEST(DepthwiseI8, EveryNumberOfChannels) {
  Random random(1);
  for (int32_t channels = 1; channels <= 131; ++channels) {
    const PoolShape s{.in_h = 3,
                      .in_w = 4,
                      .channels = channels,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .pad_h = 1,
                      .pad_w = 1};
    ForEachIsa([&] { Check(s, channels % 3 == 0 ? 131 : 0, 0, random); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(DepthwiseI8, RandomShapesAndExtremes) {
  for (const uint64_t seed : TestSeeds(60)) {
    Random random(seed);
    const PoolShape s = RandomDepthwise(5, random);
    const int extreme = random.Int(0, 2) == 0 ? 127 * (2 * random.Int(0, 1) - 1) : 0;
    ForEachIsa([&] { Check(s, static_cast<uint8_t>(255 * random.Int(0, 1)), extreme, random); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace bisparse::kernels
