// SPDX-License-Identifier: Apache-2.0
// Blocks against whole recordings; what is readable of broken ones; memory.
#include "data/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <vector>

#include "bisparse/error.h"
#include "data/audio.h"

namespace bisparse::data {
namespace {

using ::testing::HasSubstr;

std::string TempFile(const std::string& name) {
  const std::string folder = testing::TempDir() + "bisparse_recording_test";
  std::filesystem::create_directories(folder);
  return folder + "/" + name;
}

std::vector<float> Noise(size_t count) {
  std::mt19937 random(1);
  std::vector<float> noise(count);
  for (float& x : noise) x = static_cast<float>(random() >> 8) / (1 << 24) - 0.5f;
  return noise;
}

void Write(const std::string& path, const std::vector<float>& interleaved, int channels,
           int rate_hz, int format) {
  SF_INFO info = {.samplerate = rate_hz, .channels = channels, .format = format};
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr) << sf_strerror(nullptr);
  const auto count = static_cast<sf_count_t>(interleaved.size());
  ASSERT_EQ(sf_write_float(file, interleaved.data(), count), count);
  sf_close(file);
}

struct Read {
  std::vector<float> samples;
  std::string fault;
};
Read ReadBlocks(Recording& recording) {
  Read read;
  try {
    for (auto block = recording.Next(); !block.empty(); block = recording.Next()) {
      EXPECT_LE(block.size(), 1u << 19);
      read.samples.insert(read.samples.end(), block.begin(), block.end());
    }
    EXPECT_TRUE(recording.Next().empty());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THROW(recording.Next(), Error);  // and it stays so
    read.fault = error.what();
  }
  return read;
}

TEST(Recording, GivesTheSamplesOfTheWholeRecordingByBlocks) {
  const std::vector<float> noise = Noise(40'000);
  int formats = 0;
  for (const int format :
       {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_W64 | SF_FORMAT_FLOAT,
        SF_FORMAT_FLAC | SF_FORMAT_PCM_24, SF_FORMAT_OGG | SF_FORMAT_VORBIS,
        SF_FORMAT_OGG | SF_FORMAT_OPUS, SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III}) {
    for (const int channels : {1, 2}) {
      SCOPED_TRACE(testing::Message() << std::hex << format << ", " << channels << " channels");
      SF_INFO info = {.samplerate = 48000, .channels = channels, .format = format};
      if (sf_format_check(&info) == 0) continue;
      ++formats;
      const std::string path = TempFile("sound");
      Write(path, noise, channels, 48000, format);
      for (const int32_t rate : {0, 16000}) {
        Recording recording(path, rate);
        EXPECT_EQ(recording.channels(), channels);
        EXPECT_EQ(recording.sample_rate_hz(), rate == 0 ? 48000 : rate);
        const Read read = ReadBlocks(recording);
        EXPECT_EQ(read.fault, "");
        EXPECT_EQ(read.samples, ReadAudio(path, rate).samples);
        recording.Restart();
        EXPECT_EQ(ReadBlocks(recording).samples, read.samples);
      }
    }
  }
  EXPECT_GE(formats, 4);
}

TEST(Recording, GivesWhatCanBeReadOfABrokenOne) {
  const std::string path = TempFile("broken.wav");
  std::vector<float> noise = Noise(50'000);
  WriteWav(path, noise, 16000);
  const std::vector<float> whole = ReadAudio(path, 0).samples;
  std::filesystem::resize_file(path, 44 + 2 * 30'000);
  Recording cut(path, 0);
  Read read = ReadBlocks(cut);
  EXPECT_THAT(read.fault, HasSubstr("broken.wav: is cut short, 40000 of 100000 bytes are missing"));
  EXPECT_EQ(read.samples, std::vector<float>(whole.begin(), whole.begin() + 30'000));
  cut.Restart();
  EXPECT_EQ(ReadBlocks(cut).samples, read.samples);
  Recording resampled(path, 8000);
  EXPECT_EQ(ReadBlocks(resampled).samples.size(), 15'000u);

  noise[20'000] = std::numeric_limits<float>::quiet_NaN();
  Write(path, noise, 1, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  Recording nan(path, 0);
  read = ReadBlocks(nan);
  EXPECT_THAT(read.fault, HasSubstr("broken.wav: sample 20000 is not finite"));
  EXPECT_EQ(read.samples, std::vector<float>(noise.begin(), noise.begin() + 20'000));

  Write(path, Noise(50'000), 1, 16000, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  Recording flac(path, 0);
  read = ReadBlocks(flac);
  EXPECT_NE(read.fault, "");
  EXPECT_GT(read.samples.size(), 10'000u);
}

TEST(Recording, HearsTheLoudestChannelWhereTheyCancel) {
  const std::vector<float> noise = Noise(40'000);
  std::vector<float> interleaved;
  for (const float x : noise) interleaved.insert(interleaved.end(), {x, -x});
  const std::string path = TempFile("antiphase.wav");
  Write(path, interleaved, 2, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  Recording recording(path, 0);
  EXPECT_EQ(recording.RestartWithoutCancelling(), 1);
  EXPECT_EQ(ReadBlocks(recording).samples, noise);
  EXPECT_EQ(ReadAudio(path, 0).samples, noise);
  Write(path, noise, 2, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  Recording stereo(path, 0);
  EXPECT_EQ(stereo.RestartWithoutCancelling(), 0);
  EXPECT_EQ(ReadBlocks(stereo).samples, ReadAudio(path, 0).samples);
}

TEST(Recording, OfThreeThousandMillionSamplesIsOpenedAsSuch) {
  // 8 bits a sample, a hole on the disk: the header's lengths are mended by hand.
  const std::string path = TempFile("long.w64");
  Write(path, {0.0f}, 1, /*rate_hz=*/100, SF_FORMAT_W64 | SF_FORMAT_PCM_U8);
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  const size_t data = bytes.find("data\xF3\xAC\xD3\x11");
  ASSERT_NE(data, std::string::npos);
  constexpr int64_t kSamples = 3'000'000'000;
  const auto put = [&](size_t at, int64_t number) {
    std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
        .seekp(static_cast<std::streamoff>(at))
        .write(reinterpret_cast<const char*>(&number), sizeof number);
  };
  put(16, static_cast<int64_t>(data) + 24 + kSamples);
  put(data + 16, 24 + kSamples);
  std::filesystem::resize_file(path, data + 24 + kSamples);
  Recording recording(path, 0);
  for (int block = 0; block < 100; ++block) ASSERT_FALSE(recording.Next().empty());
  EXPECT_THAT(
      [&] {
        try {
          ReadAudio(path, 0);
        } catch (const Error& error) {
          return std::string(error.what());
        }
        return std::string();
      }(),
      HasSubstr("longer than 3600 seconds"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace bisparse::data
