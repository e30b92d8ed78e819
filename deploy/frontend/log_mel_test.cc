// SPDX-License-Identifier: Apache-2.0
// Tests the front end against a discrete Fourier transform and a filter bank written out in double.
#include "deploy/frontend/log_mel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <thread>

#include "bisparse/error.h"

namespace bisparse {
namespace {

std::vector<float> Noise(int64_t count, uint64_t seed) {
  std::vector<float> samples(count);
  for (float& sample : samples) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    sample = static_cast<float>(static_cast<int64_t>(seed >> 40)) / (1 << 24) - 0.5f;
  }
  return samples;
}

/// The formula of log_mel.h, term by term. The clip must be of clip_samples samples already.
std::vector<double> Reference(const FrontEnd& f, const std::vector<float>& clip) {
  constexpr double kPi = std::numbers::pi;
  const auto mel = [](double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); };
  const int n = f.fft_samples;
  std::vector<double> features(f.mel_count * f.frame_count);
  for (int t = 0; t < f.frame_count; ++t) {
    std::vector<double> frame(n, 0.0);
    for (int j = 0; j < f.window_samples; ++j) {
      const int64_t at = int64_t{t} * f.hop_samples - f.window_samples / 2 + j;
      if (at < 0 || at >= f.clip_samples) continue;
      frame[(n - f.window_samples) / 2 + j] =
          clip[at] * (0.5 - 0.5 * std::cos(2 * kPi * j / f.window_samples));
    }
    std::vector<double> power(n / 2 + 1);
    for (int k = 0; k <= n / 2; ++k) {
      double re = 0, im = 0;
      for (int i = 0; i < n; ++i) {
        re += frame[i] * std::cos(2 * kPi * k * i / n);
        im -= frame[i] * std::sin(2 * kPi * k * i / n);
      }
      power[k] = re * re + im * im;
    }
    for (int m = 0; m < f.mel_count; ++m) {
      const double step = (mel(f.high_hz) - mel(f.low_hz)) / (f.mel_count + 1);
      auto hz = [&](int corner) {
        return 700.0 * (std::pow(10.0, (mel(f.low_hz) + step * corner) / 2595.0) - 1.0);
      };
      double sum = 0;
      for (int k = 0; k <= n / 2; ++k) {
        const double at = double(k) * f.sample_rate_hz / n;
        if (at > hz(m) && at <= hz(m + 1)) sum += power[k] * (at - hz(m)) / (hz(m + 1) - hz(m));
        if (at > hz(m + 1) && at < hz(m + 2)) {
          sum += power[k] * (hz(m + 2) - at) / (hz(m + 2) - hz(m + 1));
        }
      }
      features[m * f.frame_count + t] = std::log(sum + f.log_floor);
    }
  }
  return features;
}

FrontEnd SmallFrontEnd() {
  FrontEnd f;
  f.clip_samples = 1000;
  f.window_samples = 100;
  f.fft_samples = 128;
  f.hop_samples = 90;
  f.mel_count = 7;
  f.frame_count = 11;
  f.norm = FeatureNorm::kNone;
  return f;
}

std::vector<float> Compute(const FrontEnd& f, const std::vector<float>& samples) {
  const LogMel log_mel(f);
  std::vector<float> features(log_mel.shape().elements(), std::numeric_limits<float>::quiet_NaN());
  log_mel.Compute(samples, features);
  return features;
}

// Power is a sum of N products of f32 with errors of about log2(N)·eps each in the FFT, so its
// relative error stays below 1e-5; a logarithm turns that into the same absolute error, plus
// eps·|log| of its own.
constexpr double kTolerance = 2e-5;

TEST(LogMel, EqualsTheFormulaInDouble) {
  for (const auto& [fft, window] : {std::pair{128, 100}, {128, 128}, {120, 99}, {256, 31}}) {
    FrontEnd f = SmallFrontEnd();
    f.fft_samples = fft;
    f.window_samples = window;
    const std::vector<float> clip = Noise(f.clip_samples, 7);
    const std::vector<double> expected = Reference(f, clip);
    const std::vector<float> got = Compute(f, clip);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], kTolerance)
          << "fft " << fft << " window " << window << " band " << i / f.frame_count << " frame "
          << i % f.frame_count;
    }
  }
}

TEST(LogMel, DefaultsGiveA32By32Map) {
  FrontEnd f;
  EXPECT_EQ(LogMel(f).shape(), (Shape{32, 32, 1}));
  f.norm = FeatureNorm::kNone;
  const std::vector<float> clip = Noise(f.clip_samples, 3);
  const std::vector<double> expected = Reference(f, clip);
  const std::vector<float> got = Compute(f, clip);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], kTolerance) << i;
}

TEST(LogMel, ATonePeaksInItsBand) {
  FrontEnd f;
  f.norm = FeatureNorm::kNone;
  std::vector<float> clip(f.clip_samples);
  for (int i = 0; i < f.clip_samples; ++i) {
    clip[i] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 1000.0 * i / 16000.0));
  }
  const std::vector<float> features = Compute(f, clip);
  int best = 0;
  for (int m = 1; m < 32; ++m) {
    if (features[m * 32 + 16] > features[best * 32 + 16]) best = m;
  }
  // mel(1000 Hz) = 999.99; corners lie 83.6 mel apart from mel(20 Hz) = 31.7: peak of band m
  // at 31.7 + 83.5·(m + 1).
  EXPECT_EQ(best, 11);
}

TEST(LogMel, ShortClipsArePaddedAndLongOnesCutWhereAlignSays) {
  for (ClipAlign align : {ClipAlign::kStart, ClipAlign::kCenter, ClipAlign::kEnd}) {
    for (int64_t count : {0, 1, 333, 999, 1000, 1001, 2500}) {
      FrontEnd f = SmallFrontEnd();
      f.align = align;
      const std::vector<float> samples = Noise(count, 5);
      std::vector<float> clip(f.clip_samples, 0.0f);
      for (int64_t i = 0; i < f.clip_samples; ++i) {
        const int64_t gap = count - f.clip_samples;
        const int64_t offset = align == ClipAlign::kStart ? 0
                               : align == ClipAlign::kEnd ? gap
                                                          : gap / 2;  // towards zero both ways
        if (i + offset >= 0 && i + offset < count) clip[i] = samples[i + offset];
      }
      EXPECT_EQ(Compute(f, samples), Compute(f, clip)) << "align " << int(align) << " of " << count;
    }
  }
}

TEST(LogMel, NormalisationRemovesWhatItNames) {
  FrontEnd f = SmallFrontEnd();
  const std::vector<float> clip = Noise(f.clip_samples, 11);
  const std::vector<float> raw = Compute(f, clip);
  const auto n = static_cast<double>(raw.size());
  double mean = 0, square = 0;
  for (float x : raw) mean += x / n;
  for (float x : raw) square += (x - mean) * (x - mean) / n;
  const std::vector<float> clip_mean = (f.norm = FeatureNorm::kClipMean, Compute(f, clip));
  const std::vector<float> mean_std = (f.norm = FeatureNorm::kClipMeanStd, Compute(f, clip));
  const std::vector<float> band_mean = (f.norm = FeatureNorm::kBandMean, Compute(f, clip));
  for (int m = 0; m < f.mel_count; ++m) {
    double row = 0;
    for (int t = 0; t < f.frame_count; ++t) row += raw[m * f.frame_count + t] / f.frame_count;
    for (int t = 0; t < f.frame_count; ++t) {
      const int i = m * f.frame_count + t;
      EXPECT_NEAR(clip_mean[i], raw[i] - mean, 1e-5);
      EXPECT_NEAR(mean_std[i], (raw[i] - mean) / std::sqrt(square), 1e-5);
      EXPECT_NEAR(band_mean[i], raw[i] - row, 1e-5);
    }
  }
  f.norm = FeatureNorm::kNone;
  f.offset = -3.0f;
  f.scale = 0.25f;
  const std::vector<float> scaled = Compute(f, clip);
  for (size_t i = 0; i < raw.size(); ++i) EXPECT_NEAR(scaled[i], (raw[i] + 3.0f) * 0.25f, 1e-6);
}

TEST(LogMel, SilenceIsFinite) {
  for (FeatureNorm norm : {FeatureNorm::kNone, FeatureNorm::kBandMean, FeatureNorm::kClipMean,
                           FeatureNorm::kClipMeanStd}) {
    FrontEnd f;
    f.norm = norm;
    for (float x : Compute(f, std::vector<float>(f.clip_samples, 0.0f))) {
      ASSERT_NEAR(x, norm == FeatureNorm::kNone ? std::log(1e-6f) : 0.0f, 1e-4f);
    }
  }
}

TEST(LogMel, TheLargestSamplesGiveFiniteFeatures) {
  FrontEnd f{.clip_samples = 1 << 16,
             .window_samples = 1 << 16,
             .hop_samples = 1 << 15,
             .fft_samples = 1 << 16,
             .mel_count = 1,
             .frame_count = 2,
             .low_hz = 0,
             .high_hz = 8000,
             .norm = FeatureNorm::kClipMeanStd};
  std::vector<float> samples(1 << 16, kLargestSample);
  for (const int period : {1, 2, 3, 100}) {  // all of it at 0 Hz, at half the rate, between
    for (size_t i = 0; i < samples.size(); ++i) {
      samples[i] =
          static_cast<int>(i) % period < (period + 1) / 2 ? kLargestSample : -kLargestSample;
    }
    for (const float x : Compute(f, samples)) EXPECT_TRUE(std::isfinite(x)) << period;
  }
  for (const float wrong :
       {std::nextafter(kLargestSample, INFINITY), 1e19f, INFINITY, -INFINITY, NAN}) {
    samples[77] = samples[99] = wrong;
    try {
      Compute(f, samples);
      FAIL() << "took " << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_EQ(std::string(error.what()).find("LogMel: samples[77] is "), 0u) << error.what();
    }
  }
}

TEST(LogMel, SpectraThatWouldTakeMinutesAreFaults) {
  FrontEnd f{
      .clip_samples = 1 << 24, .window_samples = 1024, .hop_samples = 256, .frame_count = 1 << 16};
  EXPECT_TRUE(FrontEndFaults(f).empty());
  f.fft_samples = 2 * 32749;  // of a prime: 32749 squared for each frame
  ASSERT_EQ(FrontEndFaults(f).size(), 1u);
  EXPECT_NE(FrontEndFaults(f)[0].find("frame_count = 65536 spectra of fft_samples = 65498"),
            std::string::npos);
  f.frame_count = 2;
  EXPECT_TRUE(FrontEndFaults(f).empty());
  f.fft_samples = 1 << 16;
  f.frame_count = 2184;
  EXPECT_TRUE(FrontEndFaults(f).empty());
  f.frame_count = 2185;
  EXPECT_EQ(FrontEndFaults(f).size(), 1u);
}

TEST(LogMel, ThreadsShareOneInstance) {
  const FrontEnd f = SmallFrontEnd();
  const LogMel log_mel(f);
  std::vector<std::vector<float>> clips, expected;
  for (int i = 0; i < 8; ++i) {
    clips.push_back(Noise(f.clip_samples, 100 + i));
    expected.push_back(Compute(f, clips.back()));
  }
  std::vector<std::thread> threads;
  std::vector<int> differing(8, 0);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      std::vector<float> features(log_mel.shape().elements());
      for (int repeat = 0; repeat < 50; ++repeat) {
        log_mel.Compute(clips[i], features);
        differing[i] += features != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(differing[i], 0) << "thread " << i;
}

TEST(LogMel, EveryFaultIsListed) {
  FrontEnd f;
  EXPECT_TRUE(FrontEndFaults(f).empty());
  f.window_samples = 2048;
  f.high_hz = 9000.0f;
  f.log_floor = 0.0f;
  EXPECT_EQ(FrontEndFaults(f).size(), 3u);
  try {
    const LogMel log_mel(f);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    const std::string what = error.what();
    EXPECT_NE(what.find("window_samples = 2048 exceeds fft_samples = 1024"), std::string::npos);
    EXPECT_NE(what.find("high_hz = 9000 exceeds half of sample_rate_hz = 16000"),
              std::string::npos);
    EXPECT_NE(what.find("log_floor"), std::string::npos);
  }
}

TEST(LogMel, EachParameterOutOfRangeIsAFault) {
  const std::vector<void (*)(FrontEnd&)> changes = {
      [](FrontEnd& f) { f.sample_rate_hz = 0; },
      [](FrontEnd& f) { f.clip_samples = 0; },
      [](FrontEnd& f) { f.clip_samples = -1; },
      [](FrontEnd& f) { f.align = static_cast<ClipAlign>(3); },
      [](FrontEnd& f) { f.window_samples = 1; },
      [](FrontEnd& f) { f.hop_samples = 0; },
      [](FrontEnd& f) { f.hop_samples = 600; },  // the last frame would lie past the clip
      [](FrontEnd& f) { f.fft_samples = 1025; },
      [](FrontEnd& f) { f.fft_samples = 1 << 20; },
      [](FrontEnd& f) { f.mel_count = 0; },
      [](FrontEnd& f) { f.mel_count = 500; },  // a band without an FFT bin
      [](FrontEnd& f) { f.frame_count = 0; },
      [](FrontEnd& f) { f.low_hz = -1.0f; },
      [](FrontEnd& f) { f.low_hz = f.high_hz; },
      [](FrontEnd& f) { f.high_hz = std::numeric_limits<float>::quiet_NaN(); },
      [](FrontEnd& f) { f.log_floor = std::numeric_limits<float>::infinity(); },
      [](FrontEnd& f) { f.norm = static_cast<FeatureNorm>(9); },
      [](FrontEnd& f) { f.offset = std::numeric_limits<float>::quiet_NaN(); },
      [](FrontEnd& f) { f.scale = 0.0f; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    FrontEnd f;
    changes[i](f);
    EXPECT_FALSE(FrontEndFaults(f).empty()) << "change " << i;
  }
}

}  // namespace
}  // namespace bisparse
