// SPDX-License-Identifier: Apache-2.0
// Tests augmentation: what each part does alone, its ranges, and that it depends on its generator
// only.
#include "data/augment.h"
#include "deploy/base/test_seed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bisparse::data {
namespace {

constexpr int kRateHz = 16000;

AugmentConfig Off() {
  AugmentConfig config;
  config.time_shift_ms = config.gain_db = 0.0;
  config.speed_min = config.speed_max = 1.0;
  config.background_probability = config.white_noise_probability = 0.0;
  config.time_masks = config.frequency_masks = 0;
  return config;
}

std::vector<float> Tone(int64_t count, double hz) {
  std::vector<float> samples(count);
  for (int64_t i = 0; i < count; ++i) {
    samples[i] = static_cast<float>(0.25 * std::sin(2 * std::numbers::pi * hz * i / kRateHz));
  }
  return samples;
}

std::vector<float> Augment(const AugmentConfig& config, const NoiseBank& noise,
                           const std::vector<float>& source, uint64_t seed, int64_t first = 0) {
  CounterRandom random(seed, {1});
  std::vector<float> out(source.size());
  AugmentWaveform(config, kRateHz, noise, source, first, random, out);
  return out;
}

TEST(Warp, AtSpeedOneCopiesFromFirst) {
  const std::vector<float> source = {1, 2, 3, 4, 5};
  for (int64_t first : {-7, -2, 0, 1, 3, 9}) {
    std::vector<float> out(4, -1.0f);
    Warp(source, first, 1.0, 0.0, out);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t at = first + i;
      EXPECT_EQ(out[i], at >= 0 && at < 5 ? source[at] : 0.0f) << "first " << first << " i " << i;
    }
  }
}

TEST(Warp, SpeedMultipliesTheFrequency) {
  const std::vector<float> source = Tone(32000, 400.0);
  for (double speed : {0.8, 0.95, 1.1, 1.3}) {
    std::vector<float> out(16000);
    Warp(source, 8000, speed, 0.0, out);
    // A tone that is `speed` times as high, in phase at the centre, which stays where it is.
    const double centre = 0.5 * (16000 - 1);
    for (int i = 0; i < 16000; ++i) {
      const double at = 8000 + centre + (i - centre) * speed;
      ASSERT_NEAR(out[i], 0.25 * std::sin(2 * std::numbers::pi * 400.0 * at / kRateHz), 1e-3)
          << "speed " << speed << " sample " << i;
    }
  }
}

TEST(AugmentWaveform, OffIsTheClip) {
  const std::vector<float> source = Tone(1000, 300.0);
  EXPECT_EQ(Augment(Off(), {}, source, 5), source);
}

TEST(AugmentWaveform, ShiftStaysInRangeAndReachesBothSides) {
  AugmentConfig config = Off();
  config.time_shift_ms = 10.0;  // 160 samples
  std::vector<float> pulse(1000, 0.0f);
  pulse[500] = 1.0f;
  int64_t least = 1000, most = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::vector<float> out = Augment(config, {}, pulse, seed);
    const int64_t at = std::max_element(out.begin(), out.end()) - out.begin();
    EXPECT_EQ(out[at], 1.0f);
    least = std::min(least, at);
    most = std::max(most, at);
  }
  EXPECT_GE(least, 340);
  EXPECT_LT(least, 350);
  EXPECT_LE(most, 660);
  EXPECT_GT(most, 650);
}

TEST(AugmentWaveform, GainStaysInRange) {
  AugmentConfig config = Off();
  config.gain_db = 6.0;
  const std::vector<float> source = Tone(1600, 300.0);
  const double loudness = RootMeanSquare(source);
  double least = 100, most = -100;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const double db = 20 * std::log10(RootMeanSquare(Augment(config, {}, source, seed)) / loudness);
    least = std::min(least, db);
    most = std::max(most, db);
  }
  EXPECT_GE(least, -6.001);
  EXPECT_LT(least, -5.7);
  EXPECT_LE(most, 6.001);
  EXPECT_GT(most, 5.7);
}

TEST(AugmentWaveform, NoiseHasTheRatioThatIsAsked) {
  NoiseBank noise;
  std::vector<float> recording(50000);
  CounterRandom draw(3, {});
  for (float& sample : recording) sample = 0.1f * draw.Normal();
  noise.Add(recording);
  const std::vector<float> source = Tone(16000, 300.0);
  for (bool white : {false, true}) {
    AugmentConfig config = Off();
    (white ? config.white_noise_probability : config.background_probability) = 1.0;
    config.background_snr_db_min = config.background_snr_db_max = 12.0;
    config.white_noise_snr_db_min = config.white_noise_snr_db_max = 12.0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      std::vector<float> out = Augment(config, noise, source, seed);
      for (size_t i = 0; i < out.size(); ++i) out[i] -= source[i];
      // Exact for background; white noise of 16,000 samples has a loudness known to 1/√32000, 0.05
      // dB (4 of them).
      EXPECT_NEAR(20 * std::log10(RootMeanSquare(source) / RootMeanSquare(out)), 12.0,
                  white ? 0.2 : 1e-3);
    }
  }
}

TEST(AugmentWaveform, NoiseHasItsRatioWhereAShortRecordingRunsOn) {
  NoiseBank noise;
  std::vector<float> recording(150, 0.1f);
  std::fill(recording.end() - 20, recording.end(), 1e-6f);  // a cut may begin in near-silence
  noise.Add(recording);
  AugmentConfig config = Off();
  config.background_probability = 1.0;
  config.background_snr_db_min = config.background_snr_db_max = 12.0;
  const std::vector<float> source = Tone(400, 300.0);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<float> out = Augment(config, noise, source, seed);
    for (size_t i = 0; i < out.size(); ++i) out[i] -= source[i];
    EXPECT_NEAR(20 * std::log10(RootMeanSquare(source) / RootMeanSquare(out)), 12.0, 1e-3) << seed;
  }
}

TEST(AugmentWaveform, EchoAndBandLimitsAreAddedWhereAsked) {
  std::vector<float> pulse(16000);
  pulse[500] = 1.0f;
  AugmentConfig echo = Off(), band = Off();
  echo.reverb_probability = band.band_limit_probability = 1.0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> in_room = Augment(echo, {}, pulse, seed);
    EXPECT_TRUE(std::all_of(in_room.begin(), in_room.begin() + 500,
                            [](float sample) { return sample == 0.0f; }));
    const double echo_db =
        20 * std::log10(RootMeanSquare(std::span(in_room).subspan(501)) * std::sqrt(16000.0 - 501));
    EXPECT_GT(echo_db, -12.01);
    EXPECT_LT(echo_db, 0.01);
    // A pulse has all frequencies; at most those from 50 Hz to 8 kHz stay.
    const std::vector<float> through_device = Augment(band, {}, pulse, seed);
    EXPECT_LT(through_device[500], 0.99f);
    double sum = 0;
    for (float sample : through_device) sum += sample;
    EXPECT_NEAR(sum, 0.0, 1e-3);
  }
}

TEST(PerturbWaveform, KindsTakeTurnsAndAreUnlike) {
  EXPECT_EQ(PerturbationOf(0), Perturbation::kBackground);
  EXPECT_EQ(PerturbationOf(4), Perturbation::kPacketsLost);
  EXPECT_EQ(PerturbationOf(7), Perturbation::kTelephone);
  NoiseBank noise;
  noise.Add(Tone(30000, 50.0));
  const std::vector<float> source = Tone(16000, 300.0);
  std::vector<std::vector<float>> outs;
  for (int64_t i = 0; i < kPerturbations; ++i) {
    SCOPED_TRACE(i);
    const auto perturbed = [&](uint64_t seed) {
      CounterRandom random(seed, {});
      std::vector<float> out(source.size());
      PerturbWaveform(PerturbationOf(i), 16000, noise, source, 0, random, out);
      return out;
    };
    outs.push_back(perturbed(1));
    EXPECT_EQ(outs.back(), perturbed(1));
    EXPECT_NE(outs.back(), perturbed(2));
    for (int64_t j = 0; j < i; ++j) EXPECT_NE(outs[j], outs[i]) << j;
  }
}

TEST(PerturbWaveform, EachKindShowsWhatItIs) {
  NoiseBank noise;
  noise.Add(Tone(30000, 50.0));
  const std::vector<float> tone = Tone(16000, 300.0), silence(16000);
  const auto perturbed = [&](Perturbation kind, const std::vector<float>& source, uint64_t seed) {
    CounterRandom random(seed, {});
    std::vector<float> out(source.size());
    PerturbWaveform(kind, 16000, noise, source, 0, random, out);
    return out;
  };
  int lost = 0;
  for (const uint64_t seed : TestSeeds(20)) {
    // Noise and hum are heard in silence too.
    for (const Perturbation kind :
         {Perturbation::kBackground, Perturbation::kRoom, Perturbation::kOverdriven}) {
      EXPECT_GT(RootMeanSquare(perturbed(kind, silence, seed)), 0.0);
    }
    for (const Perturbation kind : {Perturbation::kTelephone, Perturbation::kPacketsLost}) {
      EXPECT_EQ(RootMeanSquare(perturbed(kind, silence, seed)), 0.0);
    }
    const std::vector<float> line = perturbed(Perturbation::kTelephone, tone, seed);
    for (size_t i = 0; i < line.size(); i += 2) ASSERT_EQ(line[i], line[i + 1]) << i;
    // Packets in the middle, which no shift or speed empties.
    const std::vector<float> packets = perturbed(Perturbation::kPacketsLost, tone, seed);
    for (size_t begin = 20 * 320; begin < 30 * 320; begin += 320) {
      lost += RootMeanSquare(std::span(packets).subspan(begin, 320)) == 0.0;
    }
  }
  EXPECT_GT(lost, 5);  // of 200, a tenth is lost
  EXPECT_LT(lost, 50);
}

TEST(AugmentWaveform, ProbabilityIsKept) {
  NoiseBank noise;
  noise.Add(std::vector<float>(100, 0.5f));
  AugmentConfig config = Off();
  config.background_probability = 0.25;
  const std::vector<float> source = Tone(400, 300.0);
  int mixed = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed)
    mixed += Augment(config, noise, source, seed) != source;
  EXPECT_NEAR(mixed, 500, 4 * std::sqrt(2000 * 0.25 * 0.75));
}

TEST(AugmentWaveform, IsAFunctionOfItsGenerator) {
  AugmentConfig config;
  config.white_noise_probability = 0.5;
  NoiseBank noise;
  noise.Add(Tone(30000, 50.0));
  const std::vector<float> source = Tone(16000, 300.0);
  EXPECT_EQ(Augment(config, noise, source, 1), Augment(config, noise, source, 1));
  EXPECT_NE(Augment(config, noise, source, 1), Augment(config, noise, source, 2));
}

TEST(NoiseBank, ShortRecordingsRunOnAtTheirBeginning) {
  NoiseBank noise;
  noise.Add({1, 2, 3});
  std::vector<float> out(8, 10.0f);
  NoiseBank::Cut cut{std::vector<float>{}, 0};
  CounterRandom random(1, {});
  cut = noise.Draw(random, 8);
  cut.start = 1;
  cut.AddTo(out, 2.0f);
  EXPECT_EQ(out, (std::vector<float>{14, 16, 12, 14, 16, 12, 14, 16}));
}

TEST(NoiseBank, CutsStayInsideLongRecordings) {
  NoiseBank noise;
  noise.Add(std::vector<float>(105, 1.0f));
  CounterRandom random(1, {});
  bool first = false, last = false;
  for (int draw = 0; draw < 300; ++draw) {
    const int64_t start = noise.Draw(random, 100).start;
    ASSERT_GE(start, 0);
    ASSERT_LE(start, 5);
    first |= start == 0;
    last |= start == 5;
  }
  EXPECT_TRUE(first && last);
}

TEST(MaskFeatures, MasksWholeFramesAndBandsUpToTheirWidth) {
  const Shape shape{8, 10, 1};
  for (bool time : {true, false}) {
    AugmentConfig config = Off();
    (time ? config.time_masks : config.frequency_masks) = 1;
    config.time_mask_frames = config.frequency_mask_bands = 3;
    std::vector<int> widths(4, 0);
    for (uint64_t seed = 0; seed < 200; ++seed) {
      std::vector<float> features(shape.elements());
      for (size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i * i + 1);
      const std::vector<float> before = features;
      double mean = 0;
      for (float x : before) mean += x / static_cast<double>(before.size());
      CounterRandom random(seed, {});
      MaskFeatures(config, shape, random, features);
      int masked_lines = 0;
      for (int line = 0; line < (time ? shape.width : shape.height); ++line) {
        int changed = 0;
        for (int other = 0; other < (time ? shape.height : shape.width); ++other) {
          const int i = time ? other * shape.width + line : line * shape.width + other;
          if (features[i] == before[i]) continue;
          EXPECT_NEAR(features[i], mean, 1e-2);
          ++changed;
        }
        ASSERT_TRUE(changed == 0 || changed == (time ? shape.height : shape.width));
        masked_lines += changed > 0;
      }
      ASSERT_LE(masked_lines, 3);
      ++widths[masked_lines];
    }
    for (int width = 0; width <= 3; ++width) EXPECT_GT(widths[width], 25) << "width " << width;
  }
}

}  // namespace
}  // namespace bisparse::data
