// SPDX-License-Identifier: Apache-2.0
// Read first: effects.h. Tested in: effects_test.cc.
#include "data/effects.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace bisparse::data {
namespace {

/// y[i] = b0·x[i] + b1·x[i−1] + b2·x[i−2] − a1·y[i−1] − a2·y[i−2].
struct Biquad {
  double b0, b1, b2, a1, a2;

  void Run(std::span<float> samples) const {
    double s1 = 0, s2 = 0;  // transposed direct form II
    for (float& sample : samples) {
      const double x = sample, y = b0 * x + s1;
      s1 = b1 * x - a1 * y + s2;
      s2 = b2 * x - a2 * y;
      sample = static_cast<float>(y);
    }
  }
};

Biquad Butterworth(double edge_hz, double rate_hz, bool high_pass) {
  const double w = 2.0 * std::numbers::pi * edge_hz / rate_hz;
  const double alpha = std::sin(w) / std::numbers::sqrt2, c = std::cos(w), a0 = 1.0 + alpha;
  const double outer = (high_pass ? 1.0 + c : 1.0 - c) / 2.0 / a0;
  return {outer, high_pass ? -2.0 * outer : 2.0 * outer, outer, -2.0 * c / a0, (1.0 - alpha) / a0};
}

}  // namespace

void BandLimit(int32_t sample_rate_hz, double low_hz, double high_hz, std::span<float> samples) {
  const double rate = sample_rate_hz, half = 0.5 * rate;
  if (low_hz > 0.0 && low_hz < half) Butterworth(low_hz, rate, /*high_pass=*/true).Run(samples);
  if (high_hz > 0.0 && high_hz < half) Butterworth(high_hz, rate, false).Run(samples);
}

void Reverberate(CounterRandom& random, int32_t sample_rate_hz, double decay_ms, double direct_db,
                 std::span<float> samples) {
  struct Pulse {
    int64_t delay;
    double amplitude;
  };
  const double decay = decay_ms * sample_rate_hz / 1000.0, cell = sample_rate_hz / 500.0;
  std::vector<Pulse> pulses;
  double energy = 0;
  for (double begin = 1.0; begin < decay; begin += cell) {
    const auto delay = static_cast<int64_t>(begin + cell * random.Uniform());
    const double sign = random.Uniform() < 0.5 ? -1.0 : 1.0;
    const double amplitude = sign * std::pow(10.0, -3.0 * static_cast<double>(delay) / decay);
    pulses.push_back({delay, amplitude});
    energy += amplitude * amplitude;
  }
  if (energy == 0.0) return;
  const double gain = std::pow(10.0, -direct_db / 20.0) / std::sqrt(energy);
  const std::vector<float> direct(samples.begin(), samples.end());
  const int64_t count = std::ssize(samples);
  for (const Pulse& pulse : pulses) {
    const auto factor = static_cast<float>(gain * pulse.amplitude);
    for (int64_t i = pulse.delay; i < count; ++i) samples[i] += factor * direct[i - pulse.delay];
  }
}

void Telephone(int32_t sample_rate_hz, std::span<float> samples) {
  constexpr double kMu = 255.0, kSteps = 127.0, kLineHz = 8000.0;
  BandLimit(sample_rate_hz, 300.0, 3400.0, samples);
  const double step = std::max(1.0, sample_rate_hz / kLineHz);  // samples for each of the line's
  int64_t taken = -1;
  float held = 0.0f;
  for (int64_t i = 0; i < std::ssize(samples); ++i) {
    const auto turn = static_cast<int64_t>(static_cast<double>(i) / step);
    if (turn != taken) {
      taken = turn;
      const double x = std::clamp<double>(samples[i], -1.0, 1.0);
      const double code =
          std::round(kSteps * std::log1p(kMu * std::abs(x)) / std::log1p(kMu)) / kSteps;
      held = static_cast<float>(std::copysign(std::expm1(code * std::log1p(kMu)) / kMu, x));
    }
    samples[i] = held;
  }
}

void Clip(double fraction, std::span<float> samples) {
  float peak = 0.0f;
  for (const float sample : samples) peak = std::max(peak, std::abs(sample));
  const auto limit = static_cast<float>(fraction * peak);
  for (float& sample : samples) sample = std::clamp(sample, -limit, limit);
}

void Hum(CounterRandom& random, int32_t sample_rate_hz, double mains_hz, double snr_db,
         double quietest, std::span<float> samples) {
  if (samples.empty()) return;
  constexpr int kHarmonics = 10;
  std::vector<double> hum(samples.size());
  for (int n = 1; n <= kHarmonics; ++n) {
    const double phase = 2.0 * std::numbers::pi * random.Uniform();
    const double w = 2.0 * std::numbers::pi * n * mains_hz / sample_rate_hz;
    for (size_t i = 0; i < hum.size(); ++i) {
      hum[i] += std::sin(phase + w * static_cast<double>(i)) / n;
    }
  }
  double signal = 0.0, of_hum = 0.0;
  for (size_t i = 0; i < hum.size(); ++i) {
    signal += static_cast<double>(samples[i]) * samples[i];
    of_hum += hum[i] * hum[i];
  }
  if (of_hum == 0.0) return;
  const double loudness = std::max(std::sqrt(signal / static_cast<double>(hum.size())), quietest);
  const double gain = loudness * std::pow(10.0, -snr_db / 20.0) /
                      std::sqrt(of_hum / static_cast<double>(hum.size()));
  for (size_t i = 0; i < hum.size(); ++i) samples[i] += static_cast<float>(gain * hum[i]);
}

void LosePackets(CounterRandom& random, int32_t sample_rate_hz, double loss,
                 std::span<float> samples) {
  const size_t packet = static_cast<size_t>(std::max(1, sample_rate_hz / 50));
  bool lost = false;
  for (size_t begin = 0; begin < samples.size(); begin += packet) {
    lost = random.Uniform() < (lost ? 0.5 : loss);
    if (!lost) continue;
    const auto from = samples.begin() + static_cast<int64_t>(begin);
    std::fill_n(from, std::min(packet, samples.size() - begin), 0.0f);
  }
}

}  // namespace bisparse::data
