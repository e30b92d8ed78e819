// SPDX-License-Identifier: Apache-2.0
// Streams composed of made-up recordings: what the labels say is what is heard.
#include "data/compose/compose.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "bisparse/error.h"
#include "data/audio.h"
#include "data/compose/labels.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<int16_t> Noise(int64_t samples, int32_t most, uint64_t seed) {
  CounterRandom random(seed, {7});
  std::vector<int16_t> pcm(static_cast<size_t>(samples));
  for (int16_t& x : pcm)
    x = static_cast<int16_t>(
        static_cast<int32_t>(random.Below(static_cast<uint32_t>(2 * most + 1))) - most);
  return pcm;
}

/// Silence with a burst in it.
std::vector<int16_t> Clip(int64_t length, int64_t begin, int64_t end, int32_t most = 8000) {
  std::vector<int16_t> pcm(static_cast<size_t>(length));
  const std::vector<int16_t> burst = Noise(end - begin, most, static_cast<uint64_t>(begin));
  std::copy(burst.begin(), burst.end(), pcm.begin() + begin);
  return pcm;
}

double LevelDb(std::span<const int16_t> pcm) {
  double sum = 0;
  for (const int16_t x : pcm) sum += static_cast<double>(x) * x;
  return 10 * std::log10(sum / static_cast<double>(pcm.size()) / 32768 / 32768);
}

TEST(Loudness, FindsTheWord) {
  const Loudness loudness = LoudnessOf(Clip(16000, 4800, 9600));
  EXPECT_EQ(loudness.begin, 4800);
  EXPECT_EQ(loudness.end, 9600);
  EXPECT_NEAR(loudness.mean_square, 8000.0 * 8000 / 3,
              8000.0 * 8000 / 60);  // of an even distribution
}

TEST(Loudness, KeepsTheClosureOfAStopAndLeavesClicksOut) {
  std::vector<int16_t> pcm = Clip(16000, 4800, 6400);
  const std::vector<int16_t> burst = Noise(320, 3000, 5);
  std::copy(burst.begin(), burst.end(), pcm.begin() + 8000);   // 100 ms after it: the t of "right"
  std::copy(burst.begin(), burst.end(), pcm.begin() + 15000);  // a click, much later
  EXPECT_EQ(LoudnessOf(pcm).begin, 4800);
  EXPECT_EQ(LoudnessOf(pcm).end, 8320);
}

TEST(Loudness, IsClearOfTheClipsOwnNoise) {
  std::vector<int16_t> pcm = Noise(16000, 800, 3);  // 20 dB below the word
  const std::vector<int16_t> word = Noise(4800, 8000, 4);
  std::copy(word.begin(), word.end(), pcm.begin() + 6400);
  EXPECT_EQ(LoudnessOf(pcm).begin, 6400);
  EXPECT_EQ(LoudnessOf(pcm).end, 11200);
}

TEST(Loudness, OfWhatIsHardlyThere) {
  EXPECT_EQ(LoudnessOf({}).mean_square, 0);
  EXPECT_EQ(LoudnessOf(std::vector<int16_t>(16000)).mean_square, 0);
  EXPECT_EQ(LoudnessOf(Noise(16000, 30, 1)).mean_square, 0);  // −65 dB
  EXPECT_GT(LoudnessOf(std::vector<int16_t>(50, 20000)).mean_square, 0);
  EXPECT_EQ(LoudnessOf(std::vector<int16_t>(50, 20000)).end, 50);
  const Loudness full = LoudnessOf(std::vector<int16_t>(16000, -32768));
  EXPECT_EQ(full.mean_square, 32768.0 * 32768);
  EXPECT_EQ(full.begin, 0);
  EXPECT_EQ(full.end, 16000);
}

class Compose : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::vector<int16_t>& pcm) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    WriteRecording(Path(name), pcm, kStreamRateHz);
  }
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      Write(fmt::format("test/go/{}.wav", i), Clip(16000, 3200 + 160 * i, 8000));
      Write(fmt::format("test/up/{}.wav", i), Clip(14000, 1600, 6400 + 160 * i, 20000));
      Write(fmt::format("test/_unknown_/{}.wav", i), Clip(16000, 3200, 8000, 500));
      Write(fmt::format("noise/hum/{}.wav", i), Noise(5 * kStreamRateHz, 3000, 10 + i));
      Write(fmt::format("noise/tap/{}.wav", 10 + i), Noise(12 * kStreamRateHz, 100, 20 + i));
      Write(fmt::format("talk/{}/{}-0.wav", i, i),
            Clip(5 * kStreamRateHz, 1600, 4 * kStreamRateHz));
    }
  }
  ComposeConfig Config(const std::string& out) const {
    ComposeConfig config;
    config.out = Path(out);
    config.clips = Path("test");
    config.minutes = 2;
    config.talk_frac = 0.2;
    return config;
  }
  ComposeConfig All(const std::string& out) const {
    ComposeConfig config = Config(out);
    config.noise = {Path("noise")};
    config.talk = {Path("talk")};
    return config;
  }
  static void ExpectError(const ComposeConfig& config, ErrorKind kind, const std::string& message) {
    try {
      ComposeStreams(config);
      ADD_FAILURE() << "no error, expected " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
  const TemporaryFolder folder_;
};

TEST_F(Compose, WordsAreWhereTheLabelsSayAndAsLoudAsAsked) {
  ComposeConfig config = Config("out");
  config.level_db_min = config.level_db_max = -25;
  config.talk_frac = 0;
  const ComposeResult result = ComposeStreams(config);
  EXPECT_EQ(result.words, 12);
  EXPECT_EQ(result.others, 12);
  EXPECT_EQ(result.most_often, 2);  // 12 words, 6 recordings
  EXPECT_EQ(result.clipped, 0);
  const Audio stream = ReadAudio(Path("out/stream_001.wav"), 0);
  const std::vector<int16_t> pcm = ToPcm16(stream.samples);
  EXPECT_EQ(stream.sample_rate_hz, 16000);
  ASSERT_EQ(std::ssize(pcm), 120 * 16000);
  std::map<std::string, int> count;
  double end = 0;
  std::vector<int16_t> rest = pcm;
  for (const Label& label : ReadLabels(Path("out/stream_001.txt"))) {
    ++count[label.text];
    EXPECT_GE(label.begin_s, end) << "pieces overlap";
    end = label.end_s;
    const auto first = std::lround(label.begin_s * 16000), last = std::lround(label.end_s * 16000);
    EXPECT_NEAR(LevelDb(std::span(pcm).subspan(first, last - first)), -25, 0.2) << label.text;
    std::fill(rest.begin() + first, rest.begin() + last, int16_t{0});
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"_other_ _unknown_", 12}, {"go", 6}, {"up", 6}}));
  // What has no label is hiss.
  EXPECT_LE(*std::max_element(rest.begin(), rest.end()), 8);
  EXPECT_GE(*std::min_element(rest.begin(), rest.end()), -8);
  EXPECT_GT(LevelDb(rest), -79);
}

TEST_F(Compose, NoiseLiesUnderItAllAtTheRatioAsked) {
  ComposeConfig config = All("out");
  config.level_db_min = config.level_db_max = -20;
  config.snr_db_min = config.snr_db_max = 15;
  const ComposeResult result = ComposeStreams(config);
  EXPECT_NEAR(result.talk_hours, 0.2 * 2 / 60, 5.0 / 3600);
  const std::vector<int16_t> pcm = ToPcm16(ReadAudio(Path("out/stream_001.wav"), 0).samples);
  const std::vector<Label> labels = ReadLabels(Path("out/stream_001.txt"));
  // Clips are padded with digital silence, so the pauses between labels hold noise alone.
  double at = 0;
  int pauses = 0;
  for (const Label& label : labels) {
    if (label.text.starts_with("_noise_ ")) {
      EXPECT_TRUE(label.text == "_noise_ hum" || label.text == "_noise_ tap") << label.text;
      continue;
    }
    if (label.begin_s - at > 0.5) {
      const auto first = static_cast<size_t>(at * 16000) + 1600,
                 last = static_cast<size_t>(label.begin_s * 16000) - 1600;
      EXPECT_NEAR(LevelDb(std::span(pcm).subspan(first, last - first)), -35, 1.5) << at;
      ++pauses;
    }
    at = label.end_s;
  }
  EXPECT_GT(pauses, 10);
  EXPECT_TRUE(std::any_of(labels.begin(), labels.end(), [](const Label& label) {
    return label.text.starts_with("_talk_ ") && label.text.ends_with("-0");
  }));
}

TEST_F(Compose, TheSeedSaysItAll) {
  const auto text_of = [&](const std::string& out, uint64_t seed, bool flac) {
    ComposeConfig config = All(out);
    config.seed = seed;
    config.flac = flac;
    config.streams = 2;
    ComposeStreams(config);
    std::vector<std::string> texts;
    for (const char* name : {"stream_001", "stream_002"}) {
      texts.push_back(ReadTextFile(Path(out + "/" + name + ".txt")));
      const std::vector<int16_t> pcm =
          ToPcm16(ReadAudio(Path(out + "/" + name + (flac ? ".flac" : ".wav")), 0).samples);
      texts.emplace_back(reinterpret_cast<const char*>(pcm.data()), 2 * pcm.size());
    }
    return texts;
  };
  const std::vector<std::string> one = text_of("a", 1, false);
  EXPECT_EQ(one, text_of("b", 1, true));
  const std::vector<std::string> other = text_of("c", 2, false);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NE(one[i], other[i]);
  EXPECT_NE(one[0], one[2]);  // two streams
  EXPECT_EQ(XxHash64(std::span(reinterpret_cast<const uint8_t*>(one[1].data()), one[1].size())),
            10770864656867766414u)
      << "not the samples of other machines and earlier versions";
  EXPECT_THAT(ReadTextFile(Path("a/recipe.txt")), HasSubstr("split test\nseed 1\n"));
}

TEST_F(Compose, BrokenAndSilentRecordingsAreTold) {
  WriteFileAtomically(Path("test/go/broken.wav"), std::string_view("no sound"));
  Write("test/go/silent.wav", std::vector<int16_t>(16000));
  Write("test/go/long.wav", Clip(21 * 16000, 1600, 3200));
  Write("test/go/one_sample.wav", {20000});
  const ComposeResult result = ComposeStreams(All("out"));
  EXPECT_THAT(result.skipped,
              testing::UnorderedElementsAre(HasSubstr("go/broken.wav: not a readable recording"),
                                            HasSubstr("go/silent.wav: is silent"),
                                            HasSubstr("go/long.wav: takes 21 s, too long")));
  for (int i = 0; i < 3; ++i) Write(fmt::format("test/up/{}.wav", i), std::vector<int16_t>(16000));
  // The other word is still there, so half of the words are missing and nobody would know.
  ExpectError(All("out2"), ErrorKind::kData, "another recording of 'up' can be used");
}

TEST_F(Compose, RefusesWhatCannotBe) {
  ComposeConfig config = All("out");
  config.words_per_minute = 50;
  ExpectError(config, ErrorKind::kConfiguration, "do not fit into 2 minutes (hint: ");
  fs::remove_all(Path("out"));
  config = All("out");
  config.minutes = std::nan("");
  ExpectError(config, ErrorKind::kConfiguration, "--minutes: nan, allowed are 0.1 to 240");
  config = All("out");
  config.snr_db_min = 30;
  ExpectError(config, ErrorKind::kConfiguration, "--snr-db: the first number is above the second");
  config = All("out");
  config.talk_frac = 1;
  ExpectError(config, ErrorKind::kConfiguration, "--talk-frac: 1, allowed are 0 to 0.9");
  EXPECT_FALSE(fs::exists(Path("out")));
  ExpectError(All("test"), ErrorKind::kData, "exists and is not an empty folder");
  WriteFileAtomically(Path("file"), std::string_view());
  ExpectError(All("file"), ErrorKind::kData, "exists and is not an empty folder");
  ExpectError(All("file/out"), ErrorKind::kData, "file/out: cannot be made");
}

}  // namespace
}  // namespace bisparse::data
