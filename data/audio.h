// SPDX-License-Identifier: Apache-2.0
// Reads whole recordings (WAV, FLAC, MP3, Ogg and whatever else libsndfile opens) as mono at a stated rate. Channels are
// mixed down by their mean, other rates resampled (resampler.h). Long ones are better read by blocks (recording.h).
// Tested in: audio_test.cc.
#ifndef BISPARSE_DATA_AUDIO_H_
#define BISPARSE_DATA_AUDIO_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bisparse::data {

struct Audio {
  int32_t sample_rate_hz = 0;
  std::vector<float> samples;  ///< mono in [-1, 1], full scale = 1
  double peak = 0.0;           ///< largest magnitude before samples above full scale were clipped
  /// Number (from 1) of the one channel that was taken because the channels cancel each other out in
  /// their mean; 0: all of them.
  int32_t only_channel = 0;
};

/// Also from a pipe, which is read once and to its end. target_rate_hz = 0 keeps the file's rate. Throws Error (kData)
/// naming the file and what libsndfile said. So it does for files with no samples, with fewer samples than their header
/// promises, with samples that are not finite, and with more than an hour of sound.
Audio ReadAudio(const std::string& path, int32_t target_rate_hz);

/// What was done to a recording and its user should know, a clause each, e.g. "peaks at 4 times full
/// scale and is clipped"; empty for nearly all.
std::vector<std::string> Remarks(const Audio& audio);
std::vector<std::string> Remarks(double peak, int32_t only_channel);

/// 16 bits a sample, those outside [-1, 1) clipped. Training, evaluation and classification hear
/// recordings so: 16-bit recordings are kept exactly, others rounded, −98 dB of full scale.
std::vector<int16_t> ToPcm16(std::span<const float> samples);
void ToPcm16(std::span<const float> samples, std::vector<int16_t>& pcm);

/// The same samples as floats in [-1, 1).
void ToFloats(std::span<const int16_t> pcm, std::vector<float>& samples);

/// Extensions of recordings that this libsndfile reads: ".wav", ".flac", … in lower case.
const std::vector<std::string>& RecordingExtensions();

/// 16-bit mono WAV; samples outside [-1, 1] are clipped. Throws Error (kData).
void WriteWav(const std::string& path, std::span<const float> samples, int32_t sample_rate_hz);

/// 16-bit mono; a name that ends in .flac is FLAC, any other WAV. The file is whole or not there. Throws Error (kData).
void WriteRecording(const std::string& path, std::span<const int16_t> pcm, int32_t sample_rate_hz);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_AUDIO_H_
