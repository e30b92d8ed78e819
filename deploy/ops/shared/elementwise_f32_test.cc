// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels against their definitions, every width, on every instruction set.
#include "deploy/ops/shared/elementwise_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "deploy/ops/shared/elementwise_f32_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

TEST(Elementwise, ReluOfEveryWidth) {
  Random random(1);
  for (int64_t n = 0; n <= 67; ++n) {
    std::vector<float> x = random.Normals(n);
    if (n > 0) x[static_cast<size_t>(n / 2)] = -0.0f;
    ForEachIsa([&] {
      Guarded<float> y(n);
      ReluF32(x.data(), n, y.data());
      ASSERT_TRUE(y.Intact());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(y[i], ReluRef(x[static_cast<size_t>(i)])) << "n " << n << " i " << i;
        ASSERT_FALSE(std::signbit(y[i])) << "n " << n << " i " << i;
      }
    });
  }
}

TEST(Elementwise, AffineOfEveryWidthAndInPlace) {
  Random random(2);
  for (int64_t channels = 1; channels <= 67; ++channels) {
    const int64_t positions = channels % 4;
    const std::vector<float> x = random.Normals(positions * channels);
    const std::vector<float> scale = random.Normals(channels), shift = random.Normals(channels);
    ForEachIsa([&] {
      Guarded<float> y(positions * channels);
      AffineF32(x.data(), positions, channels, scale.data(), shift.data(), y.data());
      ASSERT_TRUE(y.Intact());
      for (int64_t i = 0; i < positions * channels; ++i) {
        const auto c = static_cast<size_t>(i % channels);
        const float value = x[static_cast<size_t>(i)];
        ASSERT_NEAR(y[i], AffineRef(value, scale[c], shift[c]),
                    AffineBound(value, scale[c], shift[c]))
            << "channels " << channels << " i " << i;
      }
      std::vector<float> in_place = x;
      AffineF32(in_place.data(), positions, channels, scale.data(), shift.data(), in_place.data());
      for (int64_t i = 0; i < positions * channels; ++i) {
        ASSERT_EQ(in_place[static_cast<size_t>(i)], y[i]) << "in place, element " << i;
      }
    });
  }
}

}  // namespace
}  // namespace bisparse::kernels
