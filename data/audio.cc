// SPDX-License-Identifier: Apache-2.0
// Reading and writing recordings through libsndfile and libsamplerate.
// Read first: audio.h. Tested in: audio_test.cc.
#include "data/audio.h"

#include <samplerate.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string_view>

#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using SoundFile = std::unique_ptr<SNDFILE, CloseSound>;

constexpr int64_t kMaxSeconds = 3600;

/// libsndfile keeps the reason why a file could not be opened in one variable of the process.
SoundFile Open(const std::string& path, SF_INFO& format) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  SoundFile file(sf_open(path.c_str(), SFM_READ, &format));
  if (file == nullptr) {
    Fail(ErrorKind::kData, path, "not a readable recording: {}", sf_strerror(nullptr));
  }
  return file;
}

/// Bytes that a WAV's data chunk claims beyond the end of the file, 0 for other formats. libsndfile
/// reads such a file up to its end and says nothing.
int64_t MissingWavBytes(const std::string& path) {
  constexpr int64_t kUnknownLength = 0x7FFF'0000;  // and above: written to a pipe
  std::ifstream file(path, std::ios::binary);
  char riff[12] = {};
  file.read(riff, sizeof riff);
  if (std::string_view(riff, 4) != "RIFF" || std::string_view(riff + 8, 4) != "WAVE") return 0;
  for (int64_t at = sizeof riff;;) {
    unsigned char chunk[8];
    if (!file.seekg(at).read(reinterpret_cast<char*>(chunk), sizeof chunk)) return 0;
    int64_t bytes = 0;
    for (int i = 7; i >= 4; --i) bytes = bytes << 8 | chunk[i];
    at += static_cast<int64_t>(sizeof chunk);
    if (std::equal(chunk, chunk + 4, "data")) {
      const auto file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
      return bytes >= kUnknownLength ? 0 : std::max<int64_t>(0, at + bytes - file_bytes);
    }
    at += bytes + (bytes & 1);
  }
}

std::vector<float> Resample(const std::string& path, const std::vector<float>& samples,
                            int32_t from_hz, int32_t to_hz) {
  const double ratio = static_cast<double>(to_hz) / from_hz;
  if (src_is_valid_ratio(ratio) == 0) {
    Fail(ErrorKind::kData, path,
         "sample rate {} Hz cannot be resampled to {} Hz (at most 256-fold)", from_hz, to_hz);
  }
  // One more frame than the exact length: the converter rounds up at some ratios.
  std::vector<float> resampled(static_cast<size_t>(std::ceil(samples.size() * ratio)) + 1);
  SRC_DATA conversion = {};
  conversion.data_in = samples.data();
  conversion.data_out = resampled.data();
  conversion.input_frames = static_cast<long>(samples.size());
  conversion.output_frames = static_cast<long>(resampled.size());
  conversion.src_ratio = ratio;
  if (const int error = src_simple(&conversion, SRC_SINC_BEST_QUALITY, 1); error != 0) {
    Fail(ErrorKind::kData, path, "resampling from {} Hz to {} Hz failed: {}", from_hz, to_hz,
         src_strerror(error));
  }
  resampled.resize(conversion.output_frames_gen);
  return resampled;
}

}  // namespace

Audio ReadAudio(const std::string& path, int32_t target_rate_hz) {
  SF_INFO format = {};
  const SoundFile file = Open(path, format);
  if (format.samplerate <= 0 || format.channels <= 0) {
    Fail(ErrorKind::kData, path, "{} channels at {} Hz", format.channels, format.samplerate);
  }
  if (const int64_t missing = MissingWavBytes(path); missing > 0) {
    Fail(ErrorKind::kData, path, "is cut short, {} bytes are missing", missing);
  }
  // A header's frame count is a claim: read what is there, block by block.
  constexpr sf_count_t kBlockFrames = 16384;
  std::vector<float> block(kBlockFrames * format.channels);
  Audio audio;
  audio.sample_rate_hz = format.samplerate;
  for (;;) {
    const sf_count_t frames = sf_readf_float(file.get(), block.data(), kBlockFrames);
    if (frames <= 0) break;
    for (sf_count_t frame = 0; frame < frames; ++frame) {
      float sum = 0.0f;
      for (int channel = 0; channel < format.channels; ++channel) {
        sum += block[frame * format.channels + channel];
      }
      if (!std::isfinite(sum)) {
        Fail(ErrorKind::kData, path, "sample {} is not finite", audio.samples.size());
      }
      audio.samples.push_back(sum / static_cast<float>(format.channels));
    }
    if (static_cast<int64_t>(audio.samples.size()) > kMaxSeconds * format.samplerate) {
      Fail(ErrorKind::kData, path, "longer than {} seconds", kMaxSeconds);
    }
  }
  if (sf_error(file.get()) != SF_ERR_NO_ERROR) {
    Fail(ErrorKind::kData, path, "broken after sample {}: {}", audio.samples.size(),
         sf_strerror(file.get()));
  }
  if (audio.samples.empty()) Fail(ErrorKind::kData, path, "holds no samples");
  if (static_cast<sf_count_t>(audio.samples.size()) < format.frames &&
      format.frames != SF_COUNT_MAX) {
    Fail(ErrorKind::kData, path, "ends after {} of {} samples", audio.samples.size(),
         format.frames);
  }
  if (target_rate_hz != 0 && target_rate_hz != audio.sample_rate_hz) {
    audio.samples = Resample(path, audio.samples, audio.sample_rate_hz, target_rate_hz);
    audio.sample_rate_hz = target_rate_hz;
    if (audio.samples.empty()) Fail(ErrorKind::kData, path, "too short to resample");
  }
  return audio;
}

void WriteWav(const std::string& path, std::span<const float> samples, int32_t sample_rate_hz) {
  SF_INFO format = {};
  format.samplerate = sample_rate_hz;
  format.channels = 1;
  format.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  SNDFILE* const file = sf_open(path.c_str(), SFM_WRITE, &format);
  if (file == nullptr) Fail(ErrorKind::kData, path, "cannot be written: {}", sf_strerror(nullptr));
  std::vector<int16_t> pcm(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const float scaled = std::nearbyint(samples[i] * 32768.0f);
    pcm[i] = static_cast<int16_t>(std::clamp(scaled, -32768.0f, 32767.0f));
  }
  const auto count = static_cast<sf_count_t>(pcm.size());
  const sf_count_t written = sf_write_short(file, pcm.data(), count);
  const std::string reason = sf_strerror(file);
  if (sf_close(file) != 0 || written != count) {
    Fail(ErrorKind::kData, path, "{} of {} samples written: {}", written, count, reason);
  }
}

}  // namespace bisparse::data
