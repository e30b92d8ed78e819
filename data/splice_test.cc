// SPDX-License-Identifier: Apache-2.0
#include "data/splice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bisparse::data {
namespace {

constexpr int32_t kRate = 8000;

/// A tone of `length` samples from `begin` on, in a second that is silent otherwise.
std::vector<float> Tone(int64_t begin, int64_t length, double hz, double amplitude) {
  std::vector<float> samples(kRate);
  for (int64_t i = begin; i < begin + length; ++i) {
    const double angle = 2 * std::numbers::pi * hz * static_cast<double>(i) / kRate;
    samples[static_cast<size_t>(i)] = static_cast<float>(amplitude * std::cos(angle));
  }
  return samples;
}

TEST(Splice, SoundIsFoundByItsEnergy) {
  std::vector<float> samples = Tone(2000, 1600, 400, 0.5);
  SoundPart part = FindSound(kRate, samples);
  EXPECT_EQ(part.begin, 2000);
  EXPECT_EQ(part.end, 3600);
  // 40 dB below: not sound; 20 dB below: sound.
  for (int64_t i = 0; i < 800; ++i) samples[i] = 0.005f;
  EXPECT_EQ(FindSound(kRate, samples).begin, 2000);
  for (int64_t i = 0; i < 800; ++i) samples[i] = 0.05f;
  EXPECT_EQ(FindSound(kRate, samples).begin, 0);
  const std::vector<float> silence(100);
  part = FindSound(kRate, silence);
  EXPECT_EQ(part.begin, 0);
  EXPECT_EQ(part.end, 100);
  EXPECT_EQ(FindSound(kRate, {}).end, 0);
}

TEST(Splice, TrimmingLeavesTheSoundAndItsMargin) {
  std::vector<float> samples = Tone(2000, 1600, 400, 0.5);
  for (float& sample : samples) sample += 0.001f;
  const std::vector<float> before = samples;
  Trim(kRate, 50.0, samples);
  for (int64_t i = 2000 - 400; i < 3600 + 400; ++i) ASSERT_EQ(samples[i], before[i]) << i;
  for (int64_t i = 0; i < 2000 - 400 - 80; ++i) ASSERT_EQ(samples[i], 0.0f) << i;
  for (int64_t i = 3600 + 400 + 80; i < kRate; ++i) ASSERT_EQ(samples[i], 0.0f) << i;
  EXPECT_GT(samples[2000 - 440], 0.0f);  // half-way down the slope
  EXPECT_LT(samples[2000 - 440], 0.001f);
}

TEST(Splice, TheFirstHalfOfOneThenTheSecondOfTheOther) {
  const std::vector<float> low = Tone(960, 2400, 200, 0.4), high = Tone(4000, 2400, 2000, 0.1);
  CounterRandom random(1, {1});
  std::vector<float> out;
  Splice(random, kRate, low, high, out);
  // Cut in the middle third of each.

  EXPECT_GE(std::ssize(out), 960 + 800 + kRate - 4000 - 1600 - 80);
  EXPECT_LE(std::ssize(out), 960 + 1600 + kRate - 4000 - 800);
  for (int64_t i = 0; i < 960 + 800 - 80; ++i) ASSERT_EQ(out[i], low[i]) << i;
  // As loud as the first, after the latest cut and its seam: four times itself.
  for (int64_t i = 1; i <= 8000 - 5600 - 80; ++i) {
    ASSERT_NEAR(out[out.size() - i], 4.0f * high[high.size() - i], 1e-5) << i;
  }
}

TEST(Splice, SilenceAndNothingAreSplicedToo) {
  CounterRandom random(1, {2});
  std::vector<float> out;
  const std::vector<float> silence(300), one = {0.5f};
  Splice(random, kRate, silence, one, out);
  EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); }));
  Splice(random, kRate, {}, {}, out);
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace bisparse::data
