// SPDX-License-Identifier: Apache-2.0
// Layer normalisation against its definitions: f32 within the bound of layer_norm.h, int8 in every bit; every width, on every
// instruction set.
#include "deploy/ops/layer_norm/layer_norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "deploy/ops/layer_norm/op.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

using packed::Layer;
using packed::LayerKind;

/// positions × channels, with gains about 1 and biases about 0.
struct Norm {
  Layer layer{.kind = LayerKind::kLayerNorm, .name = "norm"};
  std::vector<float> gain_c, bias_c;

  Norm(int32_t positions, int32_t channels, Random& random)
      : gain_c(random.Normals(channels)), bias_c(random.Normals(channels)) {
    layer.input = layer.output = {1, positions, channels};
    layer.weight_pnl = gain_c;
    layer.bias_o = bias_c;
  }
  Norm(const Norm&) = delete;

  std::vector<float> Defined(const std::vector<float>& x) const {
    std::vector<float> y(x.size());
    const packed::Map<float> map{layer.input, x};
    double unused = 0;
    packed::kLayerNormOperator.run_f32(layer, {&map, 1}, y, unused);
    return y;
  }
  std::vector<int32_t> Defined(const std::vector<uint8_t>& q, float input_scale) const {
    const std::vector<int32_t> x(q.begin(), q.end());
    std::vector<int32_t> y(x.size());
    const packed::Map<int32_t> map{layer.input, x, 0, input_scale};
    packed::kLayerNormOperator.run_i8(layer, {&map, 1}, y);
    return y;
  }
  LayerNormArgs Args() const {
    return {.channels = layer.input.channels,
            .gain_c = gain_c.data(),
            .bias_c = bias_c.data(),
            .epsilon = double{layer.epsilon}};
  }
  LayerNormArgs ArgsU8(float input_scale) const {
    LayerNormArgs args = Args();
    args.epsilon = packed::EpsilonInSteps(layer, input_scale);
    args.steps_of_one = 1.0 / double{layer.output_scale};
    args.zero = layer.output_zero;
    return args;
  }
};

/// Each element within the bound of layer_norm.h of the definition, on every instruction set, alone and in place.
/// `deviation`: at most √(variance + epsilon) of any position.
void ExpectNear(const Norm& norm, const std::vector<float>& x, double deviation) {
  const int64_t channels = norm.layer.input.channels, positions = norm.layer.input.width;
  const std::vector<float> expected = norm.Defined(x);
  double largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(double{value}));
  ForEachIsa([&] {
    Guarded<float> y(std::ssize(x));
    LayerNormF32(norm.Args(), x.data(), positions, y.data());
    ASSERT_TRUE(y.Intact());
    std::vector<float> in_place = x;
    LayerNormF32(norm.Args(), in_place.data(), positions, in_place.data());
    for (int64_t i = 0; i < std::ssize(x); ++i) {
      const auto at = static_cast<size_t>(i), c = static_cast<size_t>(i % channels);
      const auto count = static_cast<double>(channels);
      const double bound = 0x1p-23 * std::abs(expected[at]) +
                           0x1p-50 * count * (std::sqrt(count) + largest / deviation) *
                               (std::abs(norm.gain_c[c]) + std::abs(norm.bias_c[c]));
      ASSERT_NEAR(y[i], expected[at], bound) << channels << " channels, element " << i;
      ASSERT_EQ(y[i], in_place[at]) << channels << " channels, in place, element " << i;
    }
  });
}

TEST(LayerNormF32, IsItsDefinitionForEveryWidth) {
  Random random(1);
  for (int32_t channels = 1; channels <= 67; ++channels) {
    const int32_t positions = channels % 4;
    const Norm norm(positions, channels, random);
    // Epsilon bounds how small a deviation can be.
    ExpectNear(norm, random.Normals(positions * channels), std::sqrt(norm.layer.epsilon));
  }
  const Norm large(2, 3000, random);
  ExpectNear(large, random.Normals(6000), 0.9);
}

// A float mean of 10^4 ± 1 would be off by up to 5e-4, which is as much of the result.
TEST(LayerNormF32, LosesNothingWhereChannelsAreFarFromZero) {
  Random random(2);
  for (const int32_t channels : {2, 15, 64, 1001}) {
    const Norm norm(3, channels, random);
    std::vector<float> x = random.Normals(3 * channels);
    for (float& value : x) value = 1e4f + std::copysign(1.0f, value);
    x[0] = 1e4f + 1;
    x[1] = 1e4f - 1;
    ExpectNear(norm, x, std::sqrt(norm.layer.epsilon));
  }
}

TEST(LayerNormF32, OfTheLargestFloatsIsFinite) {
  Random random(3);
  const Norm norm(1, 21, random);
  std::vector<float> x(21, 3e38f);
  for (size_t i = 0; i < x.size(); i += 2) x[i] = -3e38f;
  ExpectNear(norm, x, 2.9e38);
  for (const float y : norm.Defined(x)) EXPECT_TRUE(std::isfinite(y));
}

// An infinite mean, or what is subtracted from it, is no number.
TEST(LayerNormF32, OneChannelThatIsNoNumberMakesItsPositionNone) {
  Random random(4);
  const Norm norm(3, 9, random);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = random.Normals(27);
    x[11] = bad;  // of the second position
    const std::vector<float> defined = norm.Defined(x);
    ForEachIsa([&] {
      std::vector<float> y(27);
      LayerNormF32(norm.Args(), x.data(), 3, y.data());
      for (size_t i = 0; i < 27; ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 9 == 1) << bad << ", element " << i;
        EXPECT_EQ(std::isnan(defined[i]), i / 9 == 1) << bad << ", element " << i;
      }
    });
  }
}

std::vector<uint8_t> Bytes(int64_t n, int32_t low, int32_t high, Random& random) {
  std::vector<uint8_t> q(static_cast<size_t>(n));
  for (uint8_t& value : q) value = static_cast<uint8_t>(random.Int(low, high));
  return q;
}

void ExpectEqual(const Norm& norm, const std::vector<uint8_t>& q, float input_scale) {
  const std::vector<int32_t> expected = norm.Defined(q, input_scale);
  for (const int32_t value : expected) ASSERT_TRUE(0 <= value && value <= 255);
  const LayerNormArgs args = norm.ArgsU8(input_scale);
  ForEachIsa([&] {
    Guarded<uint8_t> y(std::ssize(q));
    LayerNormU8(args, q.data(), norm.layer.input.width, y.data());
    ASSERT_TRUE(y.Intact());
    std::vector<uint8_t> in_place = q;
    LayerNormU8(args, in_place.data(), norm.layer.input.width, in_place.data());
    for (int64_t i = 0; i < std::ssize(q); ++i) {
      const auto at = static_cast<size_t>(i);
      ASSERT_EQ(y[i], expected[at]) << norm.layer.input.channels << " channels, element " << i;
      ASSERT_EQ(in_place[at], expected[at]) << "in place, element " << i;
    }
  });
}

TEST(LayerNormU8, IsItsDefinitionInEveryBit) {
  Random random(5);
  std::vector<int> count(256);
  for (int32_t channels = 1; channels <= 67; ++channels) {
    for (int32_t draw = 0; draw < 12; ++draw) {
      Norm norm(1 + draw % 3, channels, random);
      norm.layer.output_scale =
          std::ldexp(1.0f + 0.3f * static_cast<float>(draw % 4), -5 - draw % 3);
      norm.layer.output_zero = draw % 4 == 0 ? 128 : random.Int(0, 255);
      norm.layer.epsilon = draw % 5 == 0 ? 1.0f : 1e-5f;
      const int32_t low = draw % 3 == 0 ? 0 : random.Int(0, 200);
      const int32_t high = draw % 3 == 1 ? low + random.Int(0, 3) : 255;
      const std::vector<uint8_t> q =
          Bytes(int64_t{channels} * norm.layer.input.width, low, high, random);
      const float input_scale = draw % 2 == 0 ? 0.03125f : 1e-3f * static_cast<float>(draw + 1);
      ExpectEqual(norm, q, input_scale);
      if (testing::Test::HasFatalFailure()) return;
      for (const int32_t value : norm.Defined(q, input_scale)) ++count[static_cast<size_t>(value)];
    }
  }
  // Else a kernel that is wrong would go unnoticed.
  EXPECT_THAT(count, testing::Each(testing::Gt(0)));
}

// Scales at the ends of what floats hold: nothing in between overflows.
TEST(LayerNormU8, TakesAnyScales) {
  Random random(6);
  for (const float input_scale : {1e-38f, 1e-20f, 1e30f}) {
    for (const float output_scale : {1e-38f, 1.0f, 1e38f}) {
      Norm norm(2, 21, random);
      norm.layer.output_scale = output_scale;
      norm.layer.output_zero = 77;
      norm.gain_c[0] = 3e38f;
      norm.bias_c[1] = -3e38f;
      norm.layer.epsilon = 1e-12f;
      ExpectEqual(norm, Bytes(42, 0, 255, random), input_scale);
    }
  }
}

TEST(LayerNormU8, ALongRowKeepsItsSumsExact) {
  Random random(7);
  Norm norm(1, 1 << 20, random);
  norm.layer.output_scale = 1.0f / 32;
  norm.layer.output_zero = 128;
  ExpectEqual(norm, Bytes(1 << 20, 0, 255, random), 0.01f);
  // All but one equal: N is 2^20 − 1, a difference of numbers of 2^56.
  std::vector<uint8_t> q(1 << 20, 255);
  q.back() = 254;
  ExpectEqual(norm, q, 0.01f);
}

}  // namespace
}  // namespace bisparse::kernels
