// SPDX-License-Identifier: Apache-2.0
// The depthwise convolution by columns against its definition, where the CPU has the kernel.
#include "deploy/ops/depthwise/depthwise_columns_i8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/depthwise/depthwise_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

/// False where the CPU lacks what it needs.
bool Check(const PoolShape& s, uint8_t zero, int extreme, Random& random) {
  SCOPED_TRACE(testing::Message() << "in " << s.in_h << "x" << s.in_w << "x" << s.channels
                                  << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride "
                                  << s.stride_h << "x" << s.stride_w << " pad " << s.pad_h << "x"
                                  << s.pad_w << " zero " << int{zero});
  const int64_t stride = s.channels + random.Int(0, 3);
  const auto channels = static_cast<size_t>(s.channels);
  Guarded<uint8_t> x(int64_t{s.in_h} * s.in_w * s.channels);
  std::vector<int8_t> weight(static_cast<size_t>(s.kernel_h * s.kernel_w * stride));
  std::vector<int32_t> bias(channels), shift(channels);
  for (int64_t i = 0; i < int64_t{s.in_h} * s.in_w * s.channels; ++i) {
    x.data()[i] = static_cast<uint8_t>(extreme != 0 ? 255 : random.Int(0, 255));
  }
  for (int8_t& v : weight) {
    v = static_cast<int8_t>(extreme != 0 ? extreme : random.Int(-127, 127));
  }
  for (int32_t& v : bias) v = random.Int(-100000, 100000);
  for (int32_t& v : shift) v = random.Int(0, 12);
  const auto conv =
      PrepareDepthwiseColumnsI8(s, zero, weight.data(), stride, bias.data(), shift.data());
  if (!conv) return false;
  Guarded<uint8_t> y(s.out_h() * s.out_w() * s.channels);
  AlignedBuffer<uint8_t> scratch(static_cast<size_t>(conv->scratch_bytes()));
  DepthwiseColumnsI8Run(
      {.conv = &*conv, .x_yxc = x.data(), .y_yxc = y.data(), .scratch = scratch.data()});
  EXPECT_TRUE(y.Intact());
  for (int64_t i = 0; i < s.out_h() * s.out_w() * s.channels; ++i) {
    const int64_t c = i % s.channels, xo = i / s.channels % s.out_w(),
                  yo = i / s.channels / s.out_w();
    const auto sum = static_cast<int64_t>(
        DepthwiseRef(s, x.data(), zero, weight.data(), stride, bias.data(), yo, xo, c).value);
    EXPECT_EQ(y.data()[i], std::clamp<int64_t>(sum >> shift[static_cast<size_t>(c)], 0, 255))
        << "row " << yo << ", column " << xo << ", channel " << c;
    if (testing::Test::HasFailure()) return true;
  }
  return true;
}

TEST(DepthwiseColumnsI8, EveryNumberOfChannels) {
  Random random(1);
  for (int32_t channels = 1; channels <= 131; ++channels) {
    const PoolShape s{.in_h = 3,
                      .in_w = 4,
                      .channels = channels,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .pad_h = 1,
                      .pad_w = 1};
    if (!Check(s, channels % 3 == 0 ? 131 : 0, 0, random)) GTEST_SKIP() << "no AVX-512 with VNNI";
    if (testing::Test::HasFailure()) return;
  }
}

TEST(DepthwiseColumnsI8, RandomShapesAndExtremes) {
  for (const uint64_t seed : TestSeeds(200)) {
    Random random(seed);
    const PoolShape s = RandomDepthwise(9, random);
    const int extreme = random.Int(0, 2) == 0 ? 127 * (2 * random.Int(0, 1) - 1) : 0;
    if (!Check(s, static_cast<uint8_t>(255 * random.Int(0, 1)), extreme, random)) {
      GTEST_SKIP() << "no AVX-512 with VNNI";
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace bisparse::kernels
