// SPDX-License-Identifier: Apache-2.0
// The depthwise convolution against its definition, on every instruction set.
#include "deploy/ops/depthwise/depthwise_f32.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/depthwise/depthwise_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

/// The whole map at once, then row by row, which must give the same bits.
void Check(const PoolShape& s, bool relu, Random& random) {
  SCOPED_TRACE(testing::Message() << "in " << s.in_h << "x" << s.in_w << "x" << s.channels
                                  << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride "
                                  << s.stride_h << "x" << s.stride_w << " pad " << s.pad_h << "x"
                                  << s.pad_w << " relu " << relu);
  const int64_t stride = s.channels + random.Int(0, 3);
  // No slack at the end: a read past an end is the sanitizers' to find.
  const std::vector<float> x = random.Normals(int64_t{s.in_h} * s.in_w * s.channels);
  const std::vector<float> weight =
      random.Normals((s.kernel_h * s.kernel_w - 1) * stride + s.channels);
  const std::vector<float> bias = random.Normals(s.channels);
  const int64_t elements = s.out_h() * s.out_w() * s.channels;
  Guarded<float> whole(elements), rows(elements);
  DepthwiseF32Args args{.shape = s,
                        .x_yxc = x.data(),
                        .weight_pc = weight.data(),
                        .weight_stride = stride,
                        .bias_c = bias.data(),
                        .relu = relu,
                        .row_begin = 0,
                        .row_end = s.out_h(),
                        .y_yxc = whole.data()};
  DepthwiseF32(args);
  args.y_yxc = rows.data();
  for (int64_t row = 0; row < s.out_h(); ++row) {
    args.row_begin = row;
    args.row_end = row + 1;
    DepthwiseF32(args);
  }
  ASSERT_TRUE(whole.Intact() && rows.Intact());
  ASSERT_EQ(std::memcmp(whole.data(), rows.data(), static_cast<size_t>(elements) * 4), 0);
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t c = i % s.channels, q = i / s.channels;
    const DepthwiseRefValue ref = DepthwiseRef(s, x.data(), 0.0, weight.data(), stride, bias.data(),
                                               q / s.out_w(), q % s.out_w(), c);
    ASSERT_NEAR(whole[i], relu ? std::max(ref.value, 0.0) : ref.value, ref.bound)
        << "position " << q << " channel " << c;
  }
}

TEST(DepthwiseF32, WorkedByHand) {
  // Two channels of 1×3, windows of 1×2: channel 0 has taps (1, 10), channel 1 (2, 0).
  const float x[] = {1, 5, 2, 6, 3, 7}, weight[] = {1, 2, 10, 0}, bias[] = {0.5f, -20};
  Guarded<float> y(4);
  DepthwiseF32({.shape = {.in_h = 1, .in_w = 3, .channels = 2, .kernel_w = 2},
                .x_yxc = x,
                .weight_pc = weight,
                .weight_stride = 2,
                .bias_c = bias,
                .relu = true,
                .row_end = 1,
                .y_yxc = y.data()});
  EXPECT_EQ(std::vector<float>(y.data(), y.data() + 4), (std::vector<float>{21.5f, 0, 32.5f, 0}));
  EXPECT_TRUE(y.Intact());
}

TEST(DepthwiseF32, EveryNumberOfChannels) {
  Random random(1);
  for (int32_t channels = 1; channels <= 67; ++channels) {
    const PoolShape s{.in_h = 4,
                      .in_w = 3,
                      .channels = channels,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .pad_h = 1,
                      .pad_w = 1};
    ForEachIsa([&] { Check(s, channels % 2 == 0, random); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(DepthwiseF32, RandomShapes) {
  for (const uint64_t seed : TestSeeds(60)) {
    Random random(seed);
    const PoolShape s = RandomDepthwise(5, random);
    ForEachIsa([&] { Check(s, random.Int(0, 1) == 1, random); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace bisparse::kernels
