// SPDX-License-Identifier: Apache-2.0
// Waveform and feature augmentation.
// Read first: augment.h. Tested in: augment_test.cc.
#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include "data/effects.h"
#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

double AmplitudeOfDb(double db) { return std::pow(10.0, db / 20.0); }

/// Of a signal-to-noise ratio: clips quieter than −60 dB of full scale count as this loud, so that
/// near-silent clips don't lose their noise too.
constexpr double kQuietest = 1e-3;

constexpr double kReverbMsMin = 100.0, kBandLowHzMin = 50.0;
/// Direct sound over echo: from a small room with the speaker at a distance to close talk.
constexpr double kReverbDbMin = 0.0, kReverbDbMax = 12.0;

}  // namespace

double UniformIn(CounterRandom& random, double low, double high) {
  return low + (high - low) * random.Uniform();
}

int64_t IndexBelow(CounterRandom& random, int64_t count) {
  BISPARSE_CHECK(count > 0 && count <= int64_t{UINT32_MAX});
  return random.Below(static_cast<uint32_t>(count));
}

double RootMeanSquare(std::span<const float> samples) {
  if (samples.empty()) return 0.0;
  double sum = 0.0;
  for (float sample : samples) sum += static_cast<double>(sample) * sample;
  return std::sqrt(sum / static_cast<double>(samples.size()));
}

void NoiseBank::Add(std::vector<float> samples) {
  if (!samples.empty()) recordings_.push_back(std::move(samples));
}

NoiseBank::Cut NoiseBank::Draw(CounterRandom& random, int64_t length) const {
  BISPARSE_CHECK(!empty());
  const std::vector<float>& recording =
      recordings_[IndexBelow(random, static_cast<int64_t>(recordings_.size()))];
  const int64_t room = static_cast<int64_t>(recording.size()) - length;
  return {recording, IndexBelow(random, room > 0 ? room + 1 : std::ssize(recording))};
}

template <typename Use>
void NoiseBank::Cut::ForEachPiece(int64_t length, const Use& use) const {
  int64_t at = start;
  for (int64_t done = 0; done < length; at = 0) {
    const int64_t count = std::min(length - done, std::ssize(recording) - at);
    use(done, recording.subspan(at, count));
    done += count;
  }
}

double NoiseBank::Cut::RootMeanSquare(int64_t length) const {
  double sum = 0.0;
  ForEachPiece(length, [&](int64_t, std::span<const float> piece) {
    for (float sample : piece) sum += static_cast<double>(sample) * sample;
  });
  return length == 0 ? 0.0 : std::sqrt(sum / static_cast<double>(length));
}

void NoiseBank::Cut::AddTo(std::span<float> samples, float gain) const {
  ForEachPiece(std::ssize(samples), [&](int64_t done, std::span<const float> piece) {
    float* const to = samples.data() + done;
    for (size_t i = 0; i < piece.size(); ++i) to[i] += gain * piece[i];
  });
}

void Warp(std::span<const float> source, int64_t first, double speed, double shift,
          std::span<float> out) {
  const int64_t count = std::ssize(out);
  if (count == 0) return;
  const double centre = 0.5 * static_cast<double>(count - 1);
  const double origin = centre - centre * speed + static_cast<double>(first) - shift;
  // A copy with silence around it: no test for the ends in the loop below.
  const auto low = static_cast<int64_t>(std::floor(origin)) - 1;
  const auto high = static_cast<int64_t>(std::floor(origin + speed * (count - 1))) + 4;
  static thread_local std::vector<float> padded;
  padded.assign(high - low, 0.0f);
  const int64_t begin = std::max<int64_t>(low, 0), end = std::min(high, std::ssize(source));
  if (begin < end) {
    std::copy(source.begin() + begin, source.begin() + end, padded.begin() + (begin - low));
  }
  const float* const x = padded.data();
  const double start = origin - static_cast<double>(low);
  for (int64_t i = 0; i < count; ++i) {
    const double position = start + speed * static_cast<double>(i);
    const auto whole = static_cast<int64_t>(position);  // position >= 1: truncation is floor
    const auto u = static_cast<float>(position - static_cast<double>(whole));
    const float a = x[whole - 1], b = x[whole], c = x[whole + 1], d = x[whole + 2];
    out[i] =
        b + 0.5f * u *
                (c - a + u * (2.0f * a - 5.0f * b + 4.0f * c - d + u * (3.0f * (b - c) + d - a)));
  }
}

void AugmentWaveform(const AugmentConfig& config, int32_t sample_rate_hz, const NoiseBank& noise,
                     std::span<const float> source, int64_t first, CounterRandom& random,
                     std::span<float> out) {
  // Everything is drawn in a fixed order, used or not: changing one parameter leaves the others'
  // draws alone.
  const double speed = UniformIn(random, config.speed_min, config.speed_max);
  const double shift_samples =
      UniformIn(random, -config.time_shift_ms, config.time_shift_ms) * sample_rate_hz / 1000.0;
  const double gain_db = UniformIn(random, -config.gain_db, config.gain_db);
  const bool with_background = random.Uniform() < config.background_probability;
  const double background_db =
      UniformIn(random, config.background_snr_db_min, config.background_snr_db_max);
  const bool with_white = random.Uniform() < config.white_noise_probability;
  const double white_db =
      UniformIn(random, config.white_noise_snr_db_min, config.white_noise_snr_db_max);
  const bool with_reverb = random.Uniform() < config.reverb_probability;
  const double reverb_ms = UniformIn(random, kReverbMsMin, config.reverb_ms_max);
  const double reverb_db = UniformIn(random, kReverbDbMin, kReverbDbMax);
  const bool with_band_limit = random.Uniform() < config.band_limit_probability;
  const double low_hz = UniformIn(random, kBandLowHzMin, config.band_low_hz_max);
  const double high_hz = UniformIn(random, config.band_high_hz_min, 0.5 * sample_rate_hz);

  Warp(source, first, speed, std::round(shift_samples), out);
  if (with_reverb) Reverberate(random, sample_rate_hz, reverb_ms, reverb_db, out);
  const auto gain = static_cast<float>(AmplitudeOfDb(gain_db));
  for (float& sample : out) sample *= gain;
  const double loudness = std::max(RootMeanSquare(out), kQuietest);
  if (with_background && !noise.empty()) {
    const NoiseBank::Cut cut = noise.Draw(random, std::ssize(out));
    const double noise_loudness = cut.RootMeanSquare(std::ssize(out));
    if (noise_loudness > 0.0) {
      cut.AddTo(out, static_cast<float>(loudness / noise_loudness * AmplitudeOfDb(-background_db)));
    }
  }
  if (with_white) {
    const auto amplitude = static_cast<float>(loudness * AmplitudeOfDb(-white_db));
    for (float& sample : out) sample += amplitude * random.Normal();
  }
  if (with_band_limit) BandLimit(sample_rate_hz, low_hz, high_hz, out);
}

Perturbation PerturbationOf(int64_t index) {
  return static_cast<Perturbation>(index % kPerturbations);
}

void PerturbWaveform(Perturbation kind, int32_t sample_rate_hz, const NoiseBank& noise,
                     std::span<const float> source, int64_t first, CounterRandom& random,
                     std::span<float> out) {
  AugmentConfig config{.time_shift_ms = 100.0,
                       .gain_db = 10.0,
                       .speed_min = 0.9,
                       .speed_max = 1.1,
                       .background_probability = 0.0,
                       .background_snr_db_min = 5.0,
                       .background_snr_db_max = 5.0};
  if (kind == Perturbation::kBackground || kind == Perturbation::kRoom) {
    config.background_probability = 1.0;
  }
  if (kind == Perturbation::kRoom) {
    config.band_limit_probability = config.reverb_probability = 1.0;
    config.background_snr_db_min = config.background_snr_db_max = 10.0;
  }
  AugmentWaveform(config, sample_rate_hz, noise, source, first, random, out);
  if (kind == Perturbation::kTelephone) Telephone(sample_rate_hz, out);
  if (kind == Perturbation::kOverdriven) {
    Clip(0.25, out);
    const double mains_hz = random.Uniform() < 0.5 ? 50.0 : 60.0;
    Hum(random, sample_rate_hz, mains_hz, /*snr_db=*/10.0, kQuietest, out);
  }
  // (1/18) / (1/18 + 1/2): a tenth of the packets.
  if (kind == Perturbation::kPacketsLost) LosePackets(random, sample_rate_hz, 1.0 / 18.0, out);
}

void MaskFeatures(const AugmentConfig& config, Shape shape, CounterRandom& random,
                  std::span<float> features_hwc) {
  BISPARSE_CHECK(std::ssize(features_hwc) == shape.elements());
  if (config.time_masks <= 0 && config.frequency_masks <= 0) return;
  double sum = 0.0;
  for (float feature : features_hwc) sum += feature;
  const auto mean = static_cast<float>(sum / static_cast<double>(features_hwc.size()));
  const int64_t row = int64_t{shape.width} * shape.channels;
  for (int mask = 0; mask < config.time_masks; ++mask) {
    const int64_t width =
        IndexBelow(random, std::min(config.time_mask_frames, shape.width) + int64_t{1});
    const int64_t begin = IndexBelow(random, shape.width - width + 1);
    for (int64_t y = 0; y < shape.height; ++y) {
      std::fill_n(features_hwc.begin() + y * row + begin * shape.channels, width * shape.channels,
                  mean);
    }
  }
  for (int mask = 0; mask < config.frequency_masks; ++mask) {
    const int64_t height =
        IndexBelow(random, std::min(config.frequency_mask_bands, shape.height) + int64_t{1});
    const int64_t begin = IndexBelow(random, shape.height - height + 1);
    std::fill_n(features_hwc.begin() + begin * row, height * row, mean);
  }
}

}  // namespace bisparse::data
