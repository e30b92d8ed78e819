// SPDX-License-Identifier: Apache-2.0
// Batch norm and the max-pool after it against their formulas in double, on every instruction set: every width of channels,
// windows that overlap or reach over the edge, scales of both signs.
#include "deploy/ops/training/norm_pool_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "deploy/base/test_seed.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

constexpr double kEps = 0x1p-24;

TEST(NormPool, Statistics) {
  Random random(1);
  for (int32_t channels = 1; channels <= 35; ++channels) {
    const int32_t positions = random.Int(1, 23);
    const std::vector<float> x = random.Normals(int64_t{positions} * channels);
    const std::vector<float> dy = random.Normals(int64_t{positions} * channels);
    ForEachIsa([&] {
      Guarded<float> mean(channels), square(channels), sum(channels), product(channels);
      NormStatisticsF32(x.data(), positions, channels, mean.data(), square.data());
      NormSumsF32(dy.data(), x.data(), positions, channels, mean.data(), sum.data(),
                  product.data());
      ASSERT_TRUE(mean.Intact() && square.Intact() && sum.Intact() && product.Intact());
      for (int32_t c = 0; c < channels; ++c) {
        double total = 0, size = 0, squares = 0, sums = 0, sum_size = 0, products = 0,
               product_size = 0;
        const auto at = [&](int32_t q) { return static_cast<size_t>(q * channels + c); };
        for (int32_t q = 0; q < positions; ++q) {
          total += x[at(q)];
          size += std::abs(x[at(q)]);
          // About the mean as computed: what it is off by is bounded apart.
          const double distance = double{x[at(q)]} - mean[c];
          squares += distance * distance;
          sums += dy[at(q)];
          sum_size += std::abs(dy[at(q)]);
          products += dy[at(q)] * distance;
          product_size += std::abs(dy[at(q)] * distance);
        }
        // A sum of K terms and the factor 1/K: K + 1 roundings; a difference, its product and their sum: K + 3.
        ASSERT_NEAR(mean[c], total / positions, (positions + 2) * kEps * size / positions);
        ASSERT_NEAR(square[c], squares, (positions + 4) * kEps * squares) << c;
        ASSERT_NEAR(sum[c], sums, positions * kEps * sum_size) << c;
        ASSERT_NEAR(product[c], products, (positions + 4) * kEps * product_size) << c;
      }
    });
  }
}

/// dx without a pool: three products' roundings.
TEST(NormPool, BackwardWithoutPool) {
  Random random(2);
  for (int32_t channels = 1; channels <= 35; ++channels) {
    const int64_t n = 3 * int64_t{channels};
    const std::vector<float> x = random.Normals(n), dy = random.Normals(n);
    const std::vector<float> scale = random.Normals(channels), slope = random.Normals(channels),
                             offset = random.Normals(channels);
    ForEachIsa([&] {
      Guarded<float> dx(n);
      NormBackwardF32(x.data(), dy.data(), 3, channels, scale.data(), slope.data(), offset.data(),
                      dx.data());
      ASSERT_TRUE(dx.Intact());
      for (int64_t i = 0; i < n; ++i) {
        const auto c = static_cast<size_t>(i % channels), at = static_cast<size_t>(i);
        const double a = double{scale[c]} * dy[at], b = double{slope[c]} * x[at];
        ASSERT_NEAR(dx[i], a - b - offset[c],
                    4 * kEps * (std::abs(a) + std::abs(b) + std::abs(offset[c])))
            << "channels " << channels << " i " << i;
      }
    });
  }
}

void CheckPool(const NormPoolShape& s, Random& random) {
  SCOPED_TRACE(
      testing::PrintToString(std::vector<int>{s.in_h, s.in_w, s.channels, s.kernel_h, s.kernel_w,
                                              s.stride_h, s.stride_w, s.pad_h, s.pad_w}));
  const int64_t in = int64_t{s.in_h} * s.in_w * s.channels;
  const int64_t out = int64_t{s.out_h} * s.out_w * s.channels;
  std::vector<float> x = random.Normals(in), dy = random.Normals(out);
  for (float& value : x) value = std::round(8.0f * value);  // ties
  for (float& value : dy) value = random.Int(0, 2) == 0 ? value : 0.0f;
  std::vector<float> scale = random.Normals(s.channels);
  scale[0] = -0.0f;
  const std::vector<float> shift = random.Normals(s.channels), slope = random.Normals(s.channels),
                           offset = random.Normals(s.channels);
  ForEachIsa([&] {
    Guarded<float> y(out), best(out), dx(in);
    Guarded<uint8_t> tap(out);
    NormPoolForwardF32(s, x.data(), scale.data(), shift.data(), y.data(), best.data(), tap.data());
    NormPoolBackwardF32(s, x.data(), dy.data(), tap.data(), scale.data(), slope.data(),
                        offset.data(), dx.data());
    ASSERT_TRUE(y.Intact() && best.Intact() && tap.Intact() && dx.Intact());
    std::vector<double> want(static_cast<size_t>(in)), size(want.size()), terms(want.size(), 2.0);
    for (int64_t i = 0; i < in; ++i) {
      const auto c = static_cast<size_t>(i % s.channels), at = static_cast<size_t>(i);
      want[at] = -double{offset[c]} - double{slope[c]} * x[at];
      size[at] = std::abs(offset[c]) + std::abs(double{slope[c]} * x[at]);
    }
    for (int32_t oy = 0; oy < s.out_h; ++oy) {
      for (int32_t ox = 0; ox < s.out_w; ++ox) {
        for (int32_t c = 0; c < s.channels; ++c) {
          const auto channel = static_cast<size_t>(c);
          const int64_t o = (int64_t{oy} * s.out_w + ox) * s.channels + c;
          int32_t first = -1;
          size_t from = 0;
          for (int32_t k = 0; k < s.kernel_h * s.kernel_w; ++k) {
            const int32_t row = oy * s.stride_h - s.pad_h + k / s.kernel_w;
            const int32_t column = ox * s.stride_w - s.pad_w + k % s.kernel_w;
            if (row < 0 || row >= s.in_h || column < 0 || column >= s.in_w) continue;
            const auto at = static_cast<size_t>((int64_t{row} * s.in_w + column) * s.channels + c);
            if (first < 0 || (scale[channel] < 0 ? x[at] < x[from] : x[at] > x[from])) {
              first = k;
              from = at;
            }
          }
          ASSERT_EQ(tap[o], first) << "output " << o;
          ASSERT_EQ(best[o], x[from]) << "output " << o;
          const double product = double{scale[channel]} * x[from];
          ASSERT_NEAR(y[o], product + shift[channel],
                      2 * kEps * (std::abs(product) + std::abs(shift[channel])));
          const double gradient = double{scale[channel]} * dy[static_cast<size_t>(o)];
          want[from] += gradient;
          size[from] += std::abs(gradient);
          terms[from] += gradient != 0;
        }
      }
    }
    for (int64_t i = 0; i < in; ++i) {
      const auto at = static_cast<size_t>(i);
      ASSERT_NEAR(dx[i], want[at], (terms[at] + 1) * kEps * size[at]) << "input " << i;
    }
  });
}

TEST(NormPool, PoolsOfEveryKind) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (int i = 0; i < 60 && !testing::Test::HasFailure(); ++i) {
    NormPoolShape s{
        .in_h = random.Int(1, 9), .in_w = random.Int(1, 9), .channels = random.Int(1, 37)};
    s.kernel_h = random.Int(1, std::min(3, s.in_h));
    s.kernel_w = random.Int(1, std::min(3, s.in_w));
    s.stride_h = random.Int(1, 3);
    s.stride_w = random.Int(1, 3);
    s.pad_h = random.Int(0, s.kernel_h / 2);
    s.pad_w = random.Int(0, s.kernel_w / 2);
    s.out_h = (s.in_h + 2 * s.pad_h - s.kernel_h) / s.stride_h + 1;
    s.out_w = (s.in_w + 2 * s.pad_w - s.kernel_w) / s.stride_w + 1;
    CheckPool(s, random);
  }
}

TEST(NormPool, NanIsBest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const NormPoolShape s{
      .in_h = 1, .in_w = 4, .out_h = 1, .out_w = 2, .channels = 1, .kernel_w = 2, .stride_w = 2};
  for (const float scale : {1.0f, -1.0f}) {
    const float x[] = {nan, 1.0f, 1.0f, nan}, shift = 0.0f;
    ForEachIsa([&] {
      float y[2], best[2];
      uint8_t tap[2];
      NormPoolForwardF32(s, x, &scale, &shift, y, best, tap);
      EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1])) << scale;
    });
  }
}

}  // namespace
}  // namespace bisparse::kernels
