// SPDX-License-Identifier: Apache-2.0
// Whole recordings: read by recording.h, written through libsndfile.
// Read first: audio.h. Tested in: audio_test.cc.
#include "data/audio.h"

#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "data/recording.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

constexpr int64_t kMaxSeconds = 3600;

void ReadAll(const std::string& path, Recording& recording, std::vector<float>& samples) {
  samples.clear();
  for (auto block = recording.Next(); !block.empty(); block = recording.Next()) {
    samples.insert(samples.end(), block.begin(), block.end());
    if (std::ssize(samples) > kMaxSeconds * recording.sample_rate_hz()) {
      Fail(ErrorKind::kData, path, "longer than {} seconds", kMaxSeconds);
    }
  }
}

/// What libsndfile writes, kept until it is whole.
struct Memory {
  std::string bytes;
  size_t at = 0;

  static Memory& Of(void* memory) { return *static_cast<Memory*>(memory); }
  static sf_count_t Size(void* memory) { return std::ssize(Of(memory).bytes); }
  static sf_count_t Tell(void* memory) { return static_cast<sf_count_t>(Of(memory).at); }
  static sf_count_t Seek(sf_count_t offset, int whence, void* memory) {
    const sf_count_t from = whence == SEEK_CUR   ? Tell(memory)
                            : whence == SEEK_END ? Size(memory)
                                                 : 0;
    Of(memory).at = static_cast<size_t>(std::max<sf_count_t>(0, from + offset));
    return Tell(memory);
  }
  static sf_count_t Read(void* to, sf_count_t count, void* memory) {
    Memory& file = Of(memory);
    if (file.at >= file.bytes.size()) return 0;
    const size_t got = file.bytes.copy(static_cast<char*>(to), static_cast<size_t>(count), file.at);
    file.at += got;
    return static_cast<sf_count_t>(got);
  }
  static sf_count_t Write(const void* from, sf_count_t count, void* memory) {
    Memory& file = Of(memory);
    const auto size = static_cast<size_t>(count);
    if (file.bytes.size() < file.at + size) file.bytes.resize(file.at + size);
    file.bytes.replace(file.at, size, static_cast<const char*>(from), size);
    file.at += size;
    return count;
  }
};

/// Container or codec numbers that libsndfile enumerates.
std::vector<int> Listed(int count_command, int command) {
  int count = 0;
  sf_command(nullptr, count_command, &count, sizeof count);
  std::vector<int> formats;
  for (int i = 0; i < count; ++i) {
    SF_FORMAT_INFO format = {};
    format.format = i;
    if (sf_command(nullptr, command, &format, sizeof format) == 0) formats.push_back(format.format);
  }
  return formats;
}

}  // namespace

Audio ReadAudio(const std::string& path, int32_t target_rate_hz) {
  Recording recording(path, target_rate_hz);
  Audio audio{.sample_rate_hz = recording.sample_rate_hz()};
  ReadAll(path, recording, audio.samples);
  audio.only_channel = recording.LoudestOfCancelling();
  if (audio.only_channel > 0) {
    recording.Restart(audio.only_channel);
    ReadAll(path, recording, audio.samples);
  }
  audio.peak = recording.peak();
  return audio;
}

std::vector<std::string> Remarks(const Audio& audio) {
  return Remarks(audio.peak, audio.only_channel);
}

std::vector<std::string> Remarks(double peak, int32_t only_channel) {
  std::vector<std::string> remarks;
  if (peak > 1.0) {
    remarks.push_back(
        fmt::format("peaks at {:.4g} times full scale and is clipped (hint: floats belong into "
                    "[-1, 1])",
                    peak));
  }
  if (only_channel > 0) {
    remarks.push_back(
        fmt::format("has channels that cancel each other out, channel {} alone is "
                    "heard",
                    only_channel));
  }
  return remarks;
}

std::vector<int16_t> ToPcm16(std::span<const float> samples) {
  std::vector<int16_t> pcm;
  ToPcm16(samples, pcm);
  return pcm;
}

void ToPcm16(std::span<const float> samples, std::vector<int16_t>& pcm) {
  pcm.resize(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const float scaled = std::nearbyint(samples[i] * 32768.0f);
    pcm[i] = static_cast<int16_t>(std::clamp(scaled, -32768.0f, 32767.0f));
  }
}

void ToFloats(std::span<const int16_t> pcm, std::vector<float>& samples) {
  samples.resize(pcm.size());
  for (size_t i = 0; i < pcm.size(); ++i) samples[i] = pcm[i] * (1.0f / 32768.0f);
}

const std::vector<std::string>& RecordingExtensions() {
  static const std::vector<std::string> known = [] {
    constexpr std::pair<const char*, int> kFormats[] = {
        {".wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {".wave", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {".flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
        {".mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III},
        {".ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {".oga", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {".opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
        {".aif", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".aifc", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".au", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {".snd", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {".caf", SF_FORMAT_CAF | SF_FORMAT_PCM_16},
        {".w64", SF_FORMAT_W64 | SF_FORMAT_PCM_16},
        {".rf64", SF_FORMAT_RF64 | SF_FORMAT_PCM_16},
        {".sph", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
        {".nist", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
        {".voc", SF_FORMAT_VOC | SF_FORMAT_PCM_16},
    };
    // A libsndfile that was built without a codec does not list it.
    const std::vector<int> majors = Listed(SFC_GET_FORMAT_MAJOR_COUNT, SFC_GET_FORMAT_MAJOR);
    const std::vector<int> codecs = Listed(SFC_GET_FORMAT_SUBTYPE_COUNT, SFC_GET_FORMAT_SUBTYPE);
    const auto has = [](const std::vector<int>& list, int format) {
      return std::find(list.begin(), list.end(), format) != list.end();
    };
    std::vector<std::string> extensions;
    for (const auto& [extension, format] : kFormats) {
      if (has(majors, format & SF_FORMAT_TYPEMASK) && has(codecs, format & SF_FORMAT_SUBMASK)) {
        extensions.emplace_back(extension);
      }
    }
    return extensions;
  }();
  return known;
}

void WriteWav(const std::string& path, std::span<const float> samples, int32_t sample_rate_hz) {
  SF_INFO format = {};
  format.samplerate = sample_rate_hz;
  format.channels = 1;
  format.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  SNDFILE* const file = sf_open(path.c_str(), SFM_WRITE, &format);
  if (file == nullptr) Fail(ErrorKind::kData, path, "cannot be written: {}", sf_strerror(nullptr));
  const std::vector<int16_t> pcm = ToPcm16(samples);
  const auto count = static_cast<sf_count_t>(pcm.size());
  const sf_count_t written = sf_write_short(file, pcm.data(), count);
  const std::string reason = sf_strerror(file);
  if (sf_close(file) != 0 || written != count) {
    Fail(ErrorKind::kData, path, "{} of {} samples written: {}", written, count, reason);
  }
}

void WriteRecording(const std::string& path, std::span<const int16_t> pcm, int32_t sample_rate_hz) {
  SF_INFO format = {};
  format.samplerate = sample_rate_hz;
  format.channels = 1;
  format.format = (path.ends_with(".flac") ? SF_FORMAT_FLAC : SF_FORMAT_WAV) | SF_FORMAT_PCM_16;
  Memory memory;
  SF_VIRTUAL_IO io = {.get_filelen = Memory::Size,
                      .seek = Memory::Seek,
                      .read = Memory::Read,
                      .write = Memory::Write,
                      .tell = Memory::Tell};
  SNDFILE* const file = sf_open_virtual(&io, SFM_WRITE, &format, &memory);
  if (file == nullptr) Fail(ErrorKind::kData, path, "cannot be encoded: {}", sf_strerror(nullptr));
  const auto count = static_cast<sf_count_t>(pcm.size());
  const sf_count_t written = sf_write_short(file, pcm.data(), count);
  const std::string reason = sf_strerror(file);
  if (sf_close(file) != 0 || written != count) {
    Fail(ErrorKind::kData, path, "{} of {} samples encoded: {}", written, count, reason);
  }
  WriteFileAtomically(path, memory.bytes);
}

}  // namespace bisparse::data
