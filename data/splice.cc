// SPDX-License-Identifier: Apache-2.0
// Read first: splice.h. Tested in: splice_test.cc.
#include "data/splice.h"

#include <algorithm>
#include <cmath>

namespace bisparse::data {

SoundPart FindSound(int32_t sample_rate_hz, std::span<const float> samples) {
  const int64_t piece = std::max<int64_t>(1, sample_rate_hz / 100);
  const int64_t pieces = (std::ssize(samples) + piece - 1) / piece;
  std::vector<double> energy(static_cast<size_t>(pieces));
  for (int64_t i = 0; i < std::ssize(samples); ++i) {
    energy[static_cast<size_t>(i / piece)] += static_cast<double>(samples[i]) * samples[i];
  }
  const double loudest = energy.empty() ? 0.0 : *std::max_element(energy.begin(), energy.end());
  if (loudest == 0.0) return {0, std::ssize(samples)};
  const auto loud = [&](double e) { return e >= 1e-3 * loudest; };
  const int64_t first = std::find_if(energy.begin(), energy.end(), loud) - energy.begin();
  const int64_t last = energy.rend() - std::find_if(energy.rbegin(), energy.rend(), loud);
  return {first * piece, std::min(last * piece, std::ssize(samples))};
}

void Trim(int32_t sample_rate_hz, double margin_ms, std::span<float> samples) {
  const SoundPart sound = FindSound(sample_rate_hz, samples);
  const auto margin = static_cast<int64_t>(margin_ms * sample_rate_hz / 1000.0);
  const int64_t slope = std::max<int64_t>(1, sample_rate_hz / 100);
  const int64_t begin = sound.begin - margin, end = sound.end + margin;
  for (int64_t i = 0; i < std::ssize(samples); ++i) {
    const int64_t beyond = std::max(begin - i, i - (end - 1));
    if (beyond <= 0) continue;
    samples[i] *=
        beyond >= slope ? 0.0f : 1.0f - static_cast<float>(beyond) / static_cast<float>(slope);
  }
}

void Splice(CounterRandom& random, int32_t sample_rate_hz, std::span<const float> first,
            std::span<const float> second, std::vector<float>& out) {
  const auto loudness = [](std::span<const float> samples, SoundPart part) {
    double sum = 0;
    for (int64_t i = part.begin; i < part.end; ++i) {
      sum += static_cast<double>(samples[i]) * samples[i];
    }
    return std::sqrt(sum / static_cast<double>(std::max<int64_t>(1, part.end - part.begin)));
  };
  const auto cut = [&](SoundPart part) {
    const double place = (1.0 + random.Uniform()) / 3.0;
    return part.begin + static_cast<int64_t>(place * static_cast<double>(part.end - part.begin));
  };
  const SoundPart a = FindSound(sample_rate_hz, first), b = FindSound(sample_rate_hz, second);
  const int64_t end = cut(a), begin = cut(b);
  const double loud_a = loudness(first, a), loud_b = loudness(second, b);
  // A tenth and tenfold: silence is not made loud.
  const auto gain = static_cast<float>(loud_b > 0.0 ? std::clamp(loud_a / loud_b, 0.1, 10.0) : 1.0);
  const int64_t seam =
      std::min({std::max<int64_t>(1, sample_rate_hz / 100), end, std::ssize(second) - begin});
  out.assign(first.begin(), first.begin() + end);
  for (int64_t i = 0; i < seam; ++i) {
    const float share = (static_cast<float>(i) + 0.5f) / static_cast<float>(seam);
    float& sample = out[static_cast<size_t>(end - seam + i)];
    sample = (1.0f - share) * sample + share * gain * second[begin + i];
  }
  for (int64_t i = begin + seam; i < std::ssize(second); ++i) out.push_back(gain * second[i]);
}

}  // namespace bisparse::data
