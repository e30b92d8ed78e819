// SPDX-License-Identifier: Apache-2.0
// Activations against their definitions in double, every width, on every instruction set.
#include "deploy/ops/activation/activation_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "deploy/ops/activation/op.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

/// From −90 to 90 in steps that grow, both signs, and what lies beside kinks and zero.
std::vector<float> Arguments() {
  std::vector<float> x = {0.0f, -0.0f, 1e-30f, -1e-30f, 0x1p-140f, -0x1p-140f, 3.0f, -3.0f};
  for (const float at : {3.0f, -3.0f}) {
    x.push_back(std::nextafter(at, 100.0f));
    x.push_back(std::nextafter(at, -100.0f));
  }
  for (float a = 1e-4f; a < 90; a *= 1.0009f) {
    x.push_back(a);
    x.push_back(-a);
  }
  for (const float a : {127.0f, 1e4f, 1e30f, 3.4e38f}) {
    x.push_back(a);
    x.push_back(-a);
  }
  return x;
}

TEST(ActivationF32, IsItsDefinitionToEightRoundings) {
  const std::vector<float> x = Arguments();
  const auto n = static_cast<int64_t>(x.size());
  for (const packed::Activation& activation : packed::Activations()) {
    SCOPED_TRACE(activation.name);
    ForEachIsa([&] {
      Guarded<float> y(n);
      ActivationF32(activation.kind, x.data(), n, y.data());
      ASSERT_TRUE(y.Intact());
      for (int64_t i = 0; i < n; ++i) {
        const float at = x[static_cast<size_t>(i)];
        const double expected = activation.f(at);
        ASSERT_NEAR(y[i], expected, 0x1p-21 * std::abs(expected) + 0x1p-126) << "x " << at;
      }
    });
  }
}

TEST(ActivationF32, OfEveryWidthAndInPlaceTheSameBits) {
  Random random(3);
  for (const packed::Activation& activation : packed::Activations()) {
    SCOPED_TRACE(activation.name);
    for (int64_t n = 0; n <= 67; ++n) {
      const std::vector<float> x = random.Normals(n);
      ForEachIsa([&] {
        Guarded<float> y(n);
        ActivationF32(activation.kind, x.data(), n, y.data());
        ASSERT_TRUE(y.Intact());
        std::vector<float> in_place = x;
        ActivationF32(activation.kind, in_place.data(), n, in_place.data());
        for (int64_t i = 0; i < n; ++i) {
          float alone = NAN;
          ActivationF32(activation.kind, x.data() + i, 1, &alone);
          ASSERT_EQ(y[i], alone) << "n " << n << " i " << i;
          ASSERT_EQ(y[i], in_place[static_cast<size_t>(i)]) << "n " << n << " i " << i;
        }
      });
    }
  }
}

TEST(Activation, IsNoSteeperAndNoLowerThanItsRowSays) {
  for (const packed::Activation& activation : packed::Activations()) {
    SCOPED_TRACE(activation.name);
    double steepest = 0, lowest = 0;
    for (double x = -12; x < 12; x += 1.0 / 512) {
      steepest = std::max(steepest, std::abs(activation.f(x + 1.0 / 512) - activation.f(x)) * 512);
      lowest = std::min(lowest, activation.f(x));
    }
    EXPECT_LE(steepest, activation.slope * (1 + 1e-12));
    EXPECT_GE(steepest, activation.slope * 0.99);
    EXPECT_GE(lowest, activation.lowest);
    EXPECT_LE(lowest, activation.lowest * 0.99);
  }
}

// Steps of 1/2 from −64 about zero 128; output steps of 1/256.
TEST(Activation, TabulatesSigmoidByHand) {
  const packed::Activation& sigmoid = *packed::FindActivation(packed::LayerKind::kSigmoid);
  const std::vector<uint8_t> table = packed::ActivationTable(sigmoid, {0.5f, 128}, {1.0f / 256, 0});
  ASSERT_EQ(table.size(), 256u);
  EXPECT_EQ(table[0], 0);
  EXPECT_EQ(table[128], 128);
  EXPECT_EQ(table[130], 187);  // 256 · 0.73106
  EXPECT_EQ(table[126], 69);   // 256 · 0.26894
  EXPECT_EQ(table[255], 255);  // 256, clamped
  EXPECT_EQ(packed::ActivationTable(sigmoid, {0.5f, 128}, {1.0f / 512, 10})[255], 255);
  EXPECT_EQ(packed::ActivationTable(sigmoid, {0.5f, 128}, {1.0f / 512, 10})[0], 10);
}

}  // namespace
}  // namespace bisparse::kernels
