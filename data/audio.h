// SPDX-License-Identifier: Apache-2.0
// Reads recordings (WAV, FLAC and whatever else libsndfile opens) as mono at a stated rate.
// Channels are mixed down by their mean, other rates resampled by libsamplerate (best sinc
// converter). Tested in: audio_test.cc.
#ifndef BISPARSE_DATA_AUDIO_H_
#define BISPARSE_DATA_AUDIO_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bisparse::data {

struct Audio {
  int32_t sample_rate_hz = 0;
  std::vector<float> samples;  ///< mono, full scale = 1
};

/// Throws Error (kData) naming the file and what libsndfile said, also for files with no samples,
/// with samples that are not finite, and with more than an hour of sound. target_rate_hz = 0 keeps
/// the file's rate.
Audio ReadAudio(const std::string& path, int32_t target_rate_hz);

/// 16-bit mono WAV; samples outside [-1, 1] are clipped. Throws Error (kData).
void WriteWav(const std::string& path, std::span<const float> samples, int32_t sample_rate_hz);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_AUDIO_H_
