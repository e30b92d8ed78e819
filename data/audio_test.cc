// SPDX-License-Identifier: Apache-2.0
// Tests reading of recordings that the test writes with libsndfile: formats, rates, channels,
// faults.
#include "data/audio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>
#include <sys/stat.h>

#include <algorithm>
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

/// Containers and codecs that this libsndfile writes and that state how much they hold.
std::vector<std::pair<std::string, int>> ContainersWithALength() {
  std::vector<std::pair<std::string, int>> containers;
  for (const auto& [name, format] :
       {std::pair{"wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {"rifx", SF_FORMAT_WAV | SF_FORMAT_PCM_24 | SF_ENDIAN_BIG},
        {"wavex", SF_FORMAT_WAVEX | SF_FORMAT_FLOAT},
        {"ulaw", SF_FORMAT_WAV | SF_FORMAT_ULAW},
        {"ima", SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM},
        {"rf64", SF_FORMAT_RF64 | SF_FORMAT_PCM_16},
        {"w64", SF_FORMAT_W64 | SF_FORMAT_PCM_16},
        {"aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {"au", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {"au_little", SF_FORMAT_AU | SF_FORMAT_PCM_16 | SF_ENDIAN_LITTLE},
        {"caf", SF_FORMAT_CAF | SF_FORMAT_PCM_16},
        {"nist", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
        {"svx", SF_FORMAT_SVX | SF_FORMAT_PCM_16},
        {"voc", SF_FORMAT_VOC | SF_FORMAT_PCM_16},
        {"mat4", SF_FORMAT_MAT4 | SF_FORMAT_PCM_16},
        {"avr", SF_FORMAT_AVR | SF_FORMAT_PCM_16},
        {"mpc2k", SF_FORMAT_MPC2K | SF_FORMAT_PCM_16},
        {"flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
        {"ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {"opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
        {"mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III}}) {
    SF_INFO info = {};
    info.samplerate = 16000;
    info.channels = 1;
    info.format = format;
    if (sf_format_check(&info) != 0) containers.emplace_back(name, format);
  }
  return containers;
}

TEST(ReadAudio, RefusesHalfAFileOfEveryContainer) {
  std::vector<float> noise(80000);
  uint32_t state = 1;
  for (float& sample : noise) {
    state = state * 1664525u + 1013904223u;
    sample = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
  }
  const auto containers = ContainersWithALength();
  EXPECT_GE(containers.size(), 17u);
  for (const auto& [name, format] : containers) {
    SCOPED_TRACE(name);
    const std::string path = TempFile("half." + name);
    Write(path, noise, 1, 16000, format);
    EXPECT_EQ(Refusal(path), "");
    const double length = static_cast<double>(ReadAudio(path, 0).samples.size());
    EXPECT_NEAR(length, 80000, 1200);  // codecs pad
    std::filesystem::resize_file(path, std::filesystem::file_size(path) * 6 / 10);
    EXPECT_NE(Refusal(path), "");
  }
}

TEST(ReadAudio, RefusesAWavThatIsCutShort) {
  const std::string path = TempFile("whole.wav");
  WriteWav(path, Tone(1601, 440.0, 16000.0), 16000);
  EXPECT_EQ(ReadAudio(path, 0).samples.size(), 1601u);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1000);
  EXPECT_THAT(Refusal(path), HasSubstr("is cut short, 1000 of 3202 bytes are missing"));
}

TEST(ReadAudio, TakesHeadersThatMiscountALittleOrDoNotKnowTheLength) {
  const std::string path = TempFile("length.wav");
  const std::vector<float> tone = Tone(1600, 440.0, 16000.0);
  // A header's own 44 bytes, a byte of padding; what writers to a pipe leave there.
  for (const uint32_t bytes :
       {3201u, 3216u, 3244u, 0x7F000000u, 0x7FFFF000u, 0x80000000u, 0xFFFFFFFFu}) {
    SCOPED_TRACE(bytes);
    WriteWav(path, tone, 16000);
    std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
        .seekp(40)
        .write(reinterpret_cast<const char*>(&bytes), 4);
    EXPECT_EQ(ReadAudio(path, 0).samples.size(), 1600u);
  }
  // A writer that was killed left both lengths as it began: 0, or that of an empty file.
  for (const uint32_t riff : {0u, 36u}) {
    SCOPED_TRACE(riff);
    const uint32_t nothing = 0;
    WriteWav(path, tone, 16000);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(4).write(reinterpret_cast<const char*>(&riff), 4);
    file.seekp(40).write(reinterpret_cast<const char*>(&nothing), 4);
    file.close();
    EXPECT_EQ(ReadAudio(path, 0).samples.size(), 1600u);
  }
}

TEST(ReadAudio, ReadsAPipeOnceAndToItsEnd) {
  const std::string file = TempFile("piped.wav"), fifo = TempFile("fifo");
  WriteWav(file, Tone(50000, 440.0, 16000.0), 16000);
  std::filesystem::remove(fifo);
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::jthread writer(
      [&] { std::ofstream(fifo, std::ios::binary) << std::ifstream(file).rdbuf(); });
  const Audio piped = ReadAudio(fifo, 0);
  EXPECT_EQ(piped.samples, ReadAudio(file, 0).samples);
  EXPECT_THAT(Refusal("/dev/null"), HasSubstr("/dev/null: not a readable recording: "));
  EXPECT_THAT(Refusal(testing::TempDir()), HasSubstr("Is a directory"));
}

TEST(ReadAudio, ClipsAboveFullScaleAndSaysSo) {
  const std::string path = TempFile("loud.wav");
  std::vector<float> loud = {0.5f, -0.25f, 4.0f, -1e30f, 1.0f};
  Write(path, loud, 1, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  Audio audio = ReadAudio(path, 0);
  EXPECT_EQ(audio.samples, (std::vector<float>{0.5f, -0.25f, 1.0f, -1.0f, 1.0f}));
  EXPECT_THAT(Remarks(audio), testing::ElementsAre(HasSubstr("peaks at 1e+30 times full scale")));
  EXPECT_EQ(ToPcm16(audio.samples), (std::vector<int16_t>{16384, -8192, 32767, -32768, 32767}));
  loud = {0.5f, -1.0f, 1.0f};
  Write(path, loud, 1, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  EXPECT_THAT(Remarks(ReadAudio(path, 0)), testing::IsEmpty());
}

TEST(ReadAudio, TakesOneChannelWhereTheyCancelEachOtherOut) {
  const std::vector<float> tone = Tone(1600, 440.0, 16000.0);
  std::vector<float> interleaved, other;
  for (const float x : tone) {
    interleaved.insert(interleaved.end(), {0.0f, x, -x});
    other.insert(other.end(), {0.0f, x, 0.5f * x});
  }
  const std::string path = TempFile("antiphase.wav");
  Write(path, interleaved, 3, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  const Audio audio = ReadAudio(path, 0);
  EXPECT_EQ(audio.only_channel, 2);
  EXPECT_EQ(audio.samples, tone);
  EXPECT_THAT(Remarks(audio), testing::ElementsAre(HasSubstr("channel 2 alone is heard")));
  Write(path, other, 3, 16000, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
  EXPECT_EQ(ReadAudio(path, 0).only_channel, 0);
}

TEST(RecordingExtensions, AreThoseOfThisLibrary) {
  const std::vector<std::string>& known = RecordingExtensions();
  EXPECT_THAT(known, testing::IsSupersetOf({".wav", ".aiff", ".au"}));
  const auto knows = [&](const char* extension) {
    return std::find(known.begin(), known.end(), extension) != known.end();
  };
  EXPECT_EQ(knows(".flac"), knows(".ogg"));  // built with Xiph's libraries, or without
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
