// SPDX-License-Identifier: Apache-2.0
// Frames have one set of bits: on every instruction set, in any lane, whatever is computed with them. Against the
// definition in double they are off by rounding alone, for every kind of FFT size; so is the logarithm.
#include "deploy/frontend/log_mel_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/simd/for_each_isa.h"

namespace bisparse {
namespace {

std::vector<float> Noise(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> samples(static_cast<size_t>(count));
  for (float& sample : samples) sample = uniform(random);
  return samples;
}

/// A band for each bin, of weight 1, so that features are spectra; then one of all bins.
LogMelTables SpectrumTables(int32_t fft_samples, int64_t window_samples) {
  std::vector<MelBand> bands;
  for (int32_t k = 0; k <= fft_samples / 2; ++k) bands.push_back({k, {1.0f}});
  bands.push_back({0, std::vector<float>(bands.size(), 0.5f)});
  return {fft_samples, Noise(window_samples, 1), std::move(bands), 1e-6f};
}

/// [band][frame] of `frames` frames that begin at each third sample.
std::vector<float> Features(const LogMelTables& tables, const std::vector<float>& samples,
                            int64_t frames) {
  std::vector<const float*> frame_n;
  for (int64_t n = 0; n < frames; ++n) frame_n.push_back(samples.data() + 3 * n);
  AlignedBuffer<float> work(static_cast<size_t>(LogMelFramesWork(tables)));
  std::fill(work.begin(), work.end(), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> out(tables.bands.size() * static_cast<size_t>(frames), 7.0f);
  LogMelFramesF32(tables, frame_n.data(), frames, work.data(), out.data(), frames);
  return out;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

struct Size {
  int32_t fft_samples;
  int64_t window_samples;
};
/// Radices 4, 2, 3, 5, 7, 13, a prime, one point; windows of every rest by four, odd and even zeros before them.
constexpr Size kSizes[] = {{2, 2},     {4, 3},     {6, 6},      {8, 8},     {10, 9},
                           {16, 13},   {24, 21},   {50, 47},    {64, 64},   {90, 90},
                           {98, 97},   {120, 119}, {128, 101},  {182, 182}, {254, 251},
                           {480, 400}, {512, 510}, {1024, 1024}};

TEST(LogMelFrames, HaveOneSetOfBitsOnEveryIsaInEveryLane) {
  for (const auto& [fft, window] : kSizes) {
    SCOPED_TRACE(testing::Message() << "fft " << fft << " window " << window);
    const LogMelTables tables = SpectrumTables(fft, window);
    constexpr int64_t kMost = 37;
    const std::vector<float> samples = Noise(window + 3 * kMost, 2);
    const std::vector<float> expected = Features(tables, samples, kMost);
    kernels::ForEachIsa([&] {
      for (const int64_t frames : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 24, 31, 32, 37}) {
        const std::vector<float> got = Features(tables, samples, frames);
        for (size_t band = 0; band < tables.bands.size(); ++band) {
          for (int64_t n = 0; n < frames; ++n) {
            ASSERT_EQ(std::bit_cast<uint32_t>(
                          got[band * static_cast<size_t>(frames) + static_cast<size_t>(n)]),
                      std::bit_cast<uint32_t>(expected[band * kMost + static_cast<size_t>(n)]))
                << "band " << band << ", frame " << n << " of " << frames;
          }
        }
      }
    });
  }
}

TEST(LogMelFrames, AreTheirDefinition) {
  for (const auto& [fft, window] : kSizes) {
    SCOPED_TRACE(testing::Message() << "fft " << fft << " window " << window);
    const LogMelTables tables = SpectrumTables(fft, window);
    const std::vector<float> samples = Noise(window + 3, 3);
    const std::vector<float> got = Features(tables, samples, 1);
    // A sample passes log2(N) butterflies of 3 roundings at most (an odd radix p: p + 1), a twiddle's included; errors
    // of all samples add up as their sizes do.
    double sizes = 0;
    for (int64_t j = 0; j < window; ++j)
      sizes +=
          std::abs(double{tables.window[static_cast<size_t>(j)]} * samples[static_cast<size_t>(j)]);
    double roundings = 8;
    for (const FftStage& stage : tables.fft.stages) roundings += 4 + stage.radix;
    for (int32_t k = 0; k <= fft / 2; ++k) {
      double re = 0, im = 0;
      for (int64_t j = 0; j < window; ++j) {
        const double x =
            double{tables.window[static_cast<size_t>(j)]} * samples[static_cast<size_t>(j)];
        const double angle =
            2 * std::numbers::pi * static_cast<double>(k * (j + (fft - window) / 2) % fft) / fft;
        re += x * std::cos(angle);
        im -= x * std::sin(angle);
      }
      const double power = re * re + im * im, off = roundings * 0x1p-24 * sizes;
      const double off_power = 2 * std::sqrt(power) * off + off * off + 0x1p-22 * (power + 1e-6);
      const double low = std::log(std::max(power - off_power, 0.0) + 1e-6f);
      const double high = std::log(power + off_power + 1e-6f);
      const double off_log = 0x1p-22 * std::max(std::abs(low), std::abs(high));
      ASSERT_GE(got[static_cast<size_t>(k)], low - off_log) << "bin " << k;
      ASSERT_LE(got[static_cast<size_t>(k)], high + off_log) << "bin " << k;
    }
  }
}

TEST(LogMelFrames, LogIsOffByFourRoundingsAndTheSameEverywhere) {
  std::vector<float> x = {1.0f,
                          std::numeric_limits<float>::min(),
                          std::numeric_limits<float>::max(),
                          std::numeric_limits<float>::infinity(),
                          0x1p-149f,
                          0x1.8p-140f,
                          0x1p127f};
  for (const float at :
       {1.0f, std::numbers::sqrt2_v<float>, std::numbers::sqrt2_v<float> / 2, 0x1p-126f}) {
    x.push_back(std::nextafter(at, 0.0f));
    x.push_back(std::nextafter(at, 2.0f * at));
  }
  for (uint32_t bits = 1; bits < 0x7f800000; bits += 99'991)
    x.push_back(std::bit_cast<float>(bits));
  for (uint32_t bits = 0x3f000000; bits < 0x40000000; bits += 97)
    x.push_back(std::bit_cast<float>(bits));
  std::vector<float> first;
  kernels::ForEachIsa([&] {
    std::vector<float> y(x.size());
    LogF32(x.data(), std::ssize(x), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = std::log(double{x[i]});
      if (std::isinf(x[i])) {
        ASSERT_EQ(y[i], x[i]);
      } else {
        ASSERT_NEAR(y[i], expected, 0x1p-22 * std::abs(expected)) << "x " << x[i];
      }
    }
    if (first.empty()) first = y;
    ASSERT_EQ(Bits(y), Bits(first));
  });
}

}  // namespace
}  // namespace bisparse
