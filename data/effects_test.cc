// SPDX-License-Identifier: Apache-2.0
#include "data/effects.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "data/augment.h"

namespace bisparse::data {
namespace {

constexpr int32_t kRateHz = 16000;

/// Amplification of a tone in dB, the first half second (transients) left out.
double GainDb(double hz, double low_hz, double high_hz) {
  std::vector<float> tone(2 * kRateHz);
  for (size_t i = 0; i < tone.size(); ++i) {
    tone[i] = static_cast<float>(
        0.5 * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / kRateHz));
  }
  std::vector<float> out = tone;
  BandLimit(kRateHz, low_hz, high_hz, out);
  const auto loudness = [](const std::vector<float>& x) {
    return RootMeanSquare(std::span(x).subspan(kRateHz / 2));
  };
  return 20 * std::log10(loudness(out) / loudness(tone));
}

TEST(BandLimit, HasButterworthsResponse) {
  // −3.01 dB at an edge; an octave beyond 1/(1 + 2⁴) of the power, −12.3 dB; flat inside. The
  // bilinear transform bends frequencies towards half the rate: by 0.3 % at 500 Hz.
  EXPECT_NEAR(GainDb(500, 500, 0), -3.01, 0.02);
  EXPECT_NEAR(GainDb(250, 500, 0), -12.30, 0.1);
  EXPECT_NEAR(GainDb(4000, 500, 0), 0.0, 0.02);
  EXPECT_NEAR(GainDb(500, 0, 500), -3.01, 0.02);
  EXPECT_NEAR(GainDb(1000, 0, 500), -12.30, 0.2);
  EXPECT_NEAR(GainDb(50, 0, 500), 0.0, 0.02);
  EXPECT_NEAR(GainDb(1200, 400, 3400), 0.0, 0.15);
}

TEST(BandLimit, EdgesOutsideOfTheBandDoNothing) {
  const std::vector<float> x = {0.5f, -0.25f, 1.0f, 0.0f};
  std::vector<float> out = x;
  BandLimit(kRateHz, 0, 8000, out);
  EXPECT_EQ(out, x);
}

TEST(Reverberate, AnImpulseShowsDelayRatioAndDecay) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    CounterRandom random(seed, {});
    std::vector<float> x(kRateHz);
    x[100] = 1.0f;
    Reverberate(random, kRateHz, 300.0, 6.0, x);  // 4800 samples
    EXPECT_EQ(x[99], 0.0f);
    EXPECT_EQ(x[100], 1.0f);
    const auto energy = [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += double{x[i]} * x[i];
      return sum;
    };
    EXPECT_NEAR(10 * std::log10(energy(101, kRateHz)), -6.0, 0.01);
    // Half of the decay later the echo is 30 dB fainter.
    EXPECT_NEAR(10 * std::log10(energy(101, 901) / energy(2501, 3301)), 30.0, 1.5);
    EXPECT_EQ(energy(100 + 4800 + 33, kRateHz), 0.0);
  }
}

TEST(Reverberate, IsAFunctionOfItsGeneratorAndKeepsSilence) {
  std::vector<float> silence(800), a(800, 0.0f), b;
  CounterRandom random(1, {});
  Reverberate(random, kRateHz, 20.0, 0.0, silence);
  EXPECT_EQ(silence, std::vector<float>(800));
  a[3] = 1.0f;
  b = a;
  CounterRandom first(2, {}), second(3, {});
  Reverberate(first, kRateHz, 20.0, 0.0, a);
  Reverberate(second, kRateHz, 20.0, 0.0, b);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace bisparse::data
