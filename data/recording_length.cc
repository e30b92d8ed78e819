// SPDX-License-Identifier: Apache-2.0
// What a header promises, as libsndfile's log tells it. MissingSound passes 60 lines because it has a
// case for each container. Read first: recording_length.h. Tested in: audio_test.cc.
#include "data/recording_length.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace bisparse::data {
namespace {

/// A file may lack so much of what its header promises: writers count padding or the header itself
/// (44 to 104 bytes) into the data. 4 ms at 16 kHz and 16 bits.
constexpr int64_t kExcessBytes = 128;
/// More after the sound than names and pictures take.
constexpr int64_t kMostChunkBytes = 16 << 20;
/// Who writes to a pipe does not know the length and promises this or more.
constexpr int64_t kUnknownBytes = 0x7F00'0000;

/// The first whole number after `label` in what libsndfile says about a header, −1 if there is none.
int64_t NumberAfter(std::string_view log, std::string_view label) {
  const size_t at = log.find(label);
  if (at == std::string_view::npos) return -1;
  const size_t digit = log.find_first_of("0123456789\n", at + label.size());
  if (digit == std::string_view::npos || log[digit] == '\n') return -1;
  return std::strtoll(log.data() + digit, nullptr, 10);
}

/// Bytes of a sample of one channel, 0 where samples have no fixed size.
int64_t SampleBytes(int format) {
  switch (format & SF_FORMAT_SUBMASK) {
    case SF_FORMAT_PCM_S8:
    case SF_FORMAT_PCM_U8:
    case SF_FORMAT_ULAW:
    case SF_FORMAT_ALAW:
      return 1;
    case SF_FORMAT_PCM_16:
      return 2;
    case SF_FORMAT_PCM_24:
      return 3;
    case SF_FORMAT_PCM_32:
    case SF_FORMAT_FLOAT:
      return 4;
    case SF_FORMAT_DOUBLE:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

int64_t UnfinishedWavLength(int descriptor) {
  const auto number = [&](int64_t at) {
    unsigned char bytes[4] = {};
    if (::pread(descriptor, bytes, sizeof bytes, at) != sizeof bytes) return int64_t{-1};
    return int64_t{bytes[0]} | bytes[1] << 8 | bytes[2] << 16 | int64_t{bytes[3]} << 24;
  };
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0 || number(0) != 0x46464952 /* RIFF */ ||
      number(4) + 8 >= status.st_size) {
    return -1;
  }
  for (int64_t at = 12;;) {
    const int64_t name = number(at), bytes = number(at + 4);
    if (name < 0 || bytes < 0) return -1;
    if (name == 0x61746164 /* data */) {
      return bytes == 0 && at + 8 < status.st_size ? at + 4 : -1;
    }
    at += 8 + bytes + (bytes & 1);
  }
}

std::string MissingSound(SNDFILE* file, const SF_INFO& format, int descriptor, int64_t samples) {
  std::array<char, 16384> buffer = {};
  sf_command(file, SFC_GET_LOG_INFO, buffer.data(), buffer.size() - 1);
  const std::string_view log(buffer.data());
  const auto bytes = [](int64_t promised, int64_t there) {
    const bool whole = promised - there <= kExcessBytes || promised >= kUnknownBytes;
    return whole ? "" : fmt::format("{} of {} bytes are missing", promised - there, promised);
  };
  const auto frames = [&](int64_t promised) {
    const int64_t allowed = kExcessBytes / (std::max<int64_t>(SampleBytes(format.format), 1) *
                                            std::max(format.channels, 1));
    return promised - samples <= allowed
               ? ""
               : fmt::format("{} of {} samples are missing", promised - samples, promised);
  };
  // "data : 32000 (should be 19168)"
  const auto mended = [&](std::string_view label) -> std::string {
    const size_t line = log.find(label);
    if (line == std::string_view::npos) return "";
    const std::string_view rest = log.substr(line, log.find('\n', line + 1) - line);
    const int64_t there = NumberAfter(rest, "(should be ");
    return there < 0 ? "" : bytes(NumberAfter(rest, ":"), there);
  };
  // Two and four GiB less a little are what writers to a pipe promise; what comes after is not read.
  const auto uncounted = [&](int64_t promised) -> std::string {
    struct stat status = {};
    const bool unknown =
        (promised >= kUnknownBytes && promised <= 0x8000'0000) || promised >= 0xFFFF'0000;
    const int64_t rest = ::fstat(descriptor, &status) == 0 ? status.st_size - promised : 0;
    if (!unknown || rest < kMostChunkBytes) return "";
    return fmt::format(
        "its header counts {} bytes and {} more are there (hint: WAV ends at 4 GiB; RF64, W64 and "
        "FLAC do not)",
        promised, rest);
  };
  if (log.find("truncated") != std::string_view::npos) return "its end is missing";  // MAT, VOC
  std::string missing;
  switch (format.format & SF_FORMAT_TYPEMASK) {
    case SF_FORMAT_WAV:
    case SF_FORMAT_WAVEX:
      missing = uncounted(NumberAfter(log, "\ndata :"));
      if (!missing.empty()) break;
      [[fallthrough]];
    case SF_FORMAT_CAF:
      missing = mended("\ndata :");
      break;
    case SF_FORMAT_AIFF:
      missing = mended("SSND :");
      break;
    case SF_FORMAT_AU:
      missing = mended("Data Size ");
      break;
    case SF_FORMAT_SVX:
      missing = mended("BODY :");
      break;
    case SF_FORMAT_W64:
      missing = mended("riff :");
      break;
    case SF_FORMAT_RF64: {
      const int64_t size = SampleBytes(format.format) * format.channels;
      if (size > 0) missing = bytes(NumberAfter(log, "Data size "), samples * size);
      break;
    }
    case SF_FORMAT_AVR:
    case SF_FORMAT_MPC2K:
      missing = frames(NumberAfter(log, "Frames  "));
      break;
    case SF_FORMAT_NIST: {
      std::array<char, 1025> header = {};
      if (::pread(descriptor, header.data(), header.size() - 1, 0) > 0) {
        missing = frames(NumberAfter(header.data(), "sample_count -i "));
      }
      break;
    }
    case SF_FORMAT_OGG:
      if (format.frames == SF_COUNT_MAX) return "its last page is missing";
      break;
    case SF_FORMAT_MPEG:
      // Without a Xing header the length is a guess.
      return log.find(": variable") == std::string_view::npos ? "" : frames(format.frames);
  }
  return missing.empty() && format.frames != SF_COUNT_MAX ? frames(format.frames) : missing;
}

}  // namespace bisparse::data
