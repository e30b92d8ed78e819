// SPDX-License-Identifier: Apache-2.0
// Tests reading of recordings that the test writes with libsndfile: formats, rates, channels,
// faults.
#include "data/audio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numbers>
#include <thread>

#include "bisparse/error.h"

namespace bisparse::data {
namespace {

using ::testing::HasSubstr;

std::string TempFile(const std::string& name) {
  const std::string folder = testing::TempDir() + "bisparse_audio_test";
  std::filesystem::create_directories(folder);
  return folder + "/" + name;
}

void Write(const std::string& path, const std::vector<float>& interleaved, int channels,
           int rate_hz, int format) {
  SF_INFO info = {};
  info.samplerate = rate_hz;
  info.channels = channels;
  info.format = format;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr) << sf_strerror(nullptr);
  const auto count = static_cast<sf_count_t>(interleaved.size());
  ASSERT_EQ(sf_write_float(file, interleaved.data(), count), count);
  sf_close(file);
}

std::vector<float> Tone(int64_t count, double hz, double rate_hz) {
  std::vector<float> samples(count);
  for (int64_t i = 0; i < count; ++i) {
    samples[i] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hz * i / rate_hz));
  }
  return samples;
}

std::string Refusal(const std::string& path) {
  try {
    ReadAudio(path, 16000);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

TEST(ReadAudio, ReadsWavAndFlacAlike) {
  const std::vector<float> tone = Tone(1600, 440.0, 16000.0);
  for (int format : {SF_FORMAT_WAV, SF_FORMAT_FLAC}) {
    const std::string path = TempFile(format == SF_FORMAT_WAV ? "a.wav" : "a.flac");
    Write(path, tone, 1, 16000, format | SF_FORMAT_PCM_16);
    const Audio audio = ReadAudio(path, 16000);
    EXPECT_EQ(audio.sample_rate_hz, 16000);
    ASSERT_EQ(audio.samples.size(), tone.size());
    for (size_t i = 0; i < tone.size(); ++i) ASSERT_NEAR(audio.samples[i], tone[i], 1.0 / 32768);
  }
}

TEST(ReadAudio, MixesChannelsByTheirMean) {
  std::vector<float> interleaved;
  for (int i = 0; i < 100; ++i) {
    interleaved.push_back(0.5f);
    interleaved.push_back(-0.25f);
  }
  Write(TempFile("stereo.wav"), interleaved, 2, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  const Audio audio = ReadAudio(TempFile("stereo.wav"), 16000);
  ASSERT_EQ(audio.samples.size(), 100u);
  for (float sample : audio.samples) EXPECT_FLOAT_EQ(sample, 0.125f);
}

TEST(ReadAudio, ResamplesToTheTargetRate) {
  for (int rate : {8000, 22050, 44100, 48000}) {
    Write(TempFile("rate.wav"), Tone(rate, 440.0, rate), 1, rate, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
    const Audio audio = ReadAudio(TempFile("rate.wav"), 16000);
    EXPECT_EQ(audio.sample_rate_hz, 16000);
    EXPECT_NEAR(static_cast<double>(audio.samples.size()), 16000.0, 2.0) << rate;
    const std::vector<float> expected = Tone(16000, 440.0, 16000.0);
    for (int i = 2000; i < 14000; ++i) {  // away from the ends, where the filter sees silence
      ASSERT_NEAR(audio.samples[i], expected[i], 2e-3) << rate << " Hz, sample " << i;
    }
    EXPECT_EQ(ReadAudio(TempFile("rate.wav"), 0).sample_rate_hz, rate);
  }
}

TEST(ReadAudio, NamesTheFileAndTheReason) {
  EXPECT_THAT(Refusal(TempFile("absent.wav")), HasSubstr("absent.wav: not a readable recording: "));
  std::ofstream(TempFile("text.wav")) << "this is not sound";
  EXPECT_THAT(Refusal(TempFile("text.wav")), HasSubstr("text.wav: not a readable recording: "));
  std::ofstream(TempFile("nothing.wav"));
  EXPECT_THAT(Refusal(TempFile("nothing.wav")), HasSubstr("nothing.wav"));
  Write(TempFile("empty.wav"), {}, 1, 16000, SF_FORMAT_WAV | SF_FORMAT_PCM_16);
  EXPECT_THAT(Refusal(TempFile("empty.wav")), HasSubstr("holds no samples"));
  std::vector<float> bad(10, 0.0f);
  bad[3] = std::numeric_limits<float>::quiet_NaN();
  Write(TempFile("nan.wav"), bad, 1, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  EXPECT_THAT(Refusal(TempFile("nan.wav")), HasSubstr("sample 3 is not finite"));
}

TEST(ReadAudio, RefusesATruncatedFlac) {
  std::vector<float> noise(16000);
  uint32_t state = 1;
  for (float& sample : noise) {
    state = state * 1664525u + 1013904223u;
    sample = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
  }
  const std::string path = TempFile("whole.flac");
  Write(path, noise, 1, 16000, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_THAT(Refusal(path), HasSubstr("whole.flac: "));
}

TEST(ReadAudio, RefusesAWavThatIsCutShort) {
  const std::string path = TempFile("whole.wav");
  WriteWav(path, Tone(1601, 440.0, 16000.0), 16000);
  const auto bytes = std::filesystem::file_size(path);
  EXPECT_EQ(ReadAudio(path, 0).samples.size(), 1601u);
  for (const auto cut : {1u, 2u, 1000u}) {
    std::filesystem::resize_file(path, bytes - cut);
    EXPECT_THAT(Refusal(path), HasSubstr("is cut short, " + std::to_string(cut) + " bytes"));
    WriteWav(path, Tone(1601, 440.0, 16000.0), 16000);
  }
  // Written to a pipe: nobody knew the length.
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
      .seekp(40)
      .write("\xff\xff\xff\xff", 4);
  EXPECT_EQ(ReadAudio(path, 0).samples.size(), 1601u);
}

TEST(ReadAudio, GivesTheReasonOfItsOwnFile) {
  WriteWav(TempFile("good.wav"), Tone(16, 440.0, 16000.0), 16000);
  const std::string absent = TempFile("absent.wav");
  const std::jthread other([&](std::stop_token stop) {
    while (!stop.stop_requested()) ReadAudio(TempFile("good.wav"), 0);
  });
  for (int i = 0; i < 2000; ++i) ASSERT_THAT(Refusal(absent), HasSubstr("No such file")) << i;
}

TEST(WriteWav, KeepsSixteenBitSamplesAndClipsTheRest) {
  WriteWav(TempFile("out.wav"), std::vector<float>{0.0f, 0.5f, -1.0f, 2.0f, -2.0f}, 16000);
  EXPECT_EQ(ReadAudio(TempFile("out.wav"), 16000).samples,
            (std::vector<float>{0.0f, 0.5f, -1.0f, 32767.0f / 32768.0f, -1.0f}));
  EXPECT_THROW(WriteWav(TempFile("no/such/folder.wav"), std::vector<float>{0.0f}, 16000), Error);
}

}  // namespace
}  // namespace bisparse::data
