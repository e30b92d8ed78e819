// SPDX-License-Identifier: Apache-2.0
// The same bits however the pieces are cut; the values of libsamplerate's whole-file call; lengths without rounding.
#include "data/resampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <samplerate.h>

#include <cmath>
#include <cstring>
#include <random>

#include "bisparse/error.h"
#include "deploy/base/test_seed.h"

namespace bisparse::data {
namespace {

std::vector<float> Noise(size_t count, std::mt19937_64& random) {
  std::uniform_real_distribution<float> sample(-1, 1);
  std::vector<float> noise(count);
  for (float& x : noise) x = sample(random);
  return noise;
}

constexpr int32_t kRates[][2] = {{48000, 16000}, {44100, 16000}, {8000, 16000}, {22050, 16000},
                                 {11025, 8000},  {16000, 96000}, {96000, 8000}, {16000, 44100}};

TEST(Resampler, GivesTheSameBitsHoweverThePiecesAreCut) {
  for (const uint64_t seed : TestSeeds(8)) {
    std::mt19937_64 random(seed);
    const auto& [from, to] = kRates[seed % std::size(kRates)];
    Resampler resampler("noise", from, to);
    for (int sound = 0; sound < 2; ++sound) {  // the second one knows nothing of the first
      const std::vector<float> noise = Noise(random() % 20000, random);
      const std::vector<float> whole = Resampled("noise", noise, from, to);
      std::vector<float> pieces;
      for (std::span<const float> rest = noise; !rest.empty();) {
        const size_t count = std::min<size_t>(random() % 700, rest.size());
        resampler.Push(rest.first(count), pieces);
        rest = rest.subspan(count);
      }
      resampler.Finish(pieces);
      ASSERT_EQ(pieces.size(), noise.size() * static_cast<size_t>(to) / static_cast<size_t>(from));
      ASSERT_EQ(pieces.size(), whole.size());
      ASSERT_EQ(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(float)), 0);
    }
  }
}

TEST(Resampler, GivesTheValuesOfTheConvertersWholeFileCall) {
  std::mt19937_64 random(1);
  for (const auto& [from, to] : kRates) {
    SCOPED_TRACE(testing::Message() << from << " -> " << to);
    std::vector<float> noise = Noise(5000, random);
    std::vector<float> expected(5000 * static_cast<size_t>(to) / static_cast<size_t>(from) + 2);
    SRC_DATA conversion = {};
    conversion.data_in = noise.data();
    conversion.data_out = expected.data();
    conversion.input_frames = std::ssize(noise);
    conversion.output_frames = std::ssize(expected);
    conversion.src_ratio = static_cast<double>(to) / from;
    ASSERT_EQ(src_simple(&conversion, SRC_SINC_BEST_QUALITY, 1), 0);
    const std::vector<float> ours = Resampled("noise", noise, from, to);
    ASSERT_NEAR(static_cast<double>(ours.size()), static_cast<double>(conversion.output_frames_gen),
                1.0);
    expected.resize(std::min(ours.size(), static_cast<size_t>(conversion.output_frames_gen)));
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(ours[i], expected[i]) << i;
  }
}

TEST(Resampler, CountsSamplesWithoutRounding) {
  for (const auto& [from, to] : kRates) {
    for (int32_t seconds = 0; seconds < 4; ++seconds) {
      const std::vector<float> sound(static_cast<size_t>(from * seconds), 0.5f);
      EXPECT_EQ(std::ssize(Resampled("sound", sound, from, to)), int64_t{to} * seconds);
    }
  }
  EXPECT_EQ(Resampled("two samples", std::vector<float>(2), 48000, 16000).size(), 0u);
  EXPECT_EQ(Resampled("256-fold", std::vector<float>(3, 0.25f), 100, 25600).size(), 768u);
}

TEST(Resampler, RefusesRatesThatItCannotConvert) {
  for (const auto& [from, to] : {std::pair{1, 16000}, {16000, 1}, {0, 16000}, {16000, -1}}) {
    try {
      Resampler("a.wav", from, to);
      ADD_FAILURE() << from << " -> " << to;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_THAT(error.what(), testing::StartsWith("a.wav: sample rate "));
    }
  }
}

}  // namespace
}  // namespace bisparse::data
