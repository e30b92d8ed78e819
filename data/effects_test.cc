// SPDX-License-Identifier: Apache-2.0
#include "data/effects.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "data/augment.h"
#include "deploy/base/test_seed.h"

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
  for (const uint64_t seed : TestSeeds(20)) {
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

std::vector<float> Tone(double hz, double amplitude, int32_t rate_hz = kRateHz) {
  std::vector<float> tone(rate_hz);
  for (size_t i = 0; i < tone.size(); ++i) {
    tone[i] = static_cast<float>(
        amplitude * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz));
  }
  return tone;
}

TEST(Telephone, IsOfEightKilohertzAndEightBits) {
  std::vector<float> x = Tone(1000, 0.5);
  const double before = RootMeanSquare(x);
  Telephone(kRateHz, x);
  EXPECT_NEAR(RootMeanSquare(x) / before, 1.0, 0.1);
  for (size_t i = 0; i < x.size(); i += 2) {
    ASSERT_EQ(x[i], x[i + 1]) << i;
    // G.711: |x| = (256^(n/127) - 1)/255 for a whole n.
    const double n = 127 * std::log1p(255 * std::abs(x[i])) / std::log(256.0);
    ASSERT_NEAR(n, std::round(n), 1e-3) << i;
  }
  // Of 100 Hz, 1.6 octaves below the band, a second-order edge leaves less than a fifth.
  std::vector<float> low = Tone(100, 0.5);
  Telephone(kRateHz, low);
  EXPECT_LT(RootMeanSquare(std::span(low).subspan(kRateHz / 2)), 0.2 * before);
  // Louder than full scale stays finite and in range; a rate below the line's is kept.
  std::vector<float> loud = Tone(1000, 50.0, 6000);
  Telephone(6000, loud);
  for (const float sample : loud) ASSERT_LE(std::abs(sample), 1.0f);
  std::vector<float> slow = Tone(700, 0.5, 6000);
  Telephone(6000, slow);
  EXPECT_NE(slow[1], slow[2]);
}

TEST(Clip, CutsAtAPartOfThePeak) {
  std::vector<float> x = {0.1f, -0.8f, 0.3f, 0.0f, -0.2f};
  Clip(0.25, x);
  EXPECT_EQ(x, (std::vector<float>{0.1f, -0.2f, 0.2f, 0.0f, -0.2f}));
  std::vector<float> silence(3);
  Clip(0.25, silence);
  EXPECT_EQ(silence, std::vector<float>(3));
}

TEST(Hum, HasItsRatioAndTheMainsPeriod) {
  for (const double mains_hz : {50.0, 62.5}) {  // 320 and 256 samples a period
    CounterRandom random(3, {});
    const std::vector<float> clean = Tone(1000, 0.5);
    std::vector<float> x = clean;
    Hum(random, kRateHz, mains_hz, 10.0, 1e-3, x);
    for (size_t i = 0; i < x.size(); ++i) x[i] -= clean[i];
    EXPECT_NEAR(20 * std::log10(RootMeanSquare(clean) / RootMeanSquare(x)), 10.0, 0.01);
    const auto period = static_cast<size_t>(kRateHz / mains_hz);
    for (size_t i = period; i < x.size(); ++i) ASSERT_NEAR(x[i], x[i - period], 1e-4) << i;
  }
  CounterRandom random(3, {});
  std::vector<float> silence(kRateHz), nothing;
  Hum(random, kRateHz, 50.0, 10.0, 1e-3, silence);
  EXPECT_NEAR(RootMeanSquare(silence), 1e-3 * std::pow(10.0, -0.5), 1e-7);
  Hum(random, kRateHz, 50.0, 10.0, 1e-3, nothing);
}

TEST(LosePackets, LosesWholePacketsInBursts) {
  int64_t lost = 0, bursts = 0, packets = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    CounterRandom random(seed, {});
    std::vector<float> x(kRateHz + 7, 1.0f);  // 50 packets and a short one
    LosePackets(random, kRateHz, 1.0 / 18.0, x);
    bool before = false;
    for (size_t begin = 0; begin < x.size(); begin += 320) {
      const bool now = x[begin] == 0.0f;
      for (size_t i = begin; i < std::min(begin + 320, x.size()); ++i) ASSERT_EQ(x[i], x[begin]);
      lost += now;
      bursts += now && !before;
      before = now;
      ++packets;
    }
  }
  const double part = static_cast<double>(lost) / static_cast<double>(packets);
  EXPECT_NEAR(part, 0.1, 0.01);  // 20,400 packets, bursts of two: 4 standard errors
  EXPECT_NEAR(static_cast<double>(lost) / static_cast<double>(bursts), 2.0, 0.2);
}

}  // namespace
}  // namespace bisparse::data
