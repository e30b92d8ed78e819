// SPDX-License-Identifier: Apache-2.0
#include "data/synthesis/synthesise.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include "bisparse/error.h"
#include "data/audio.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

bool HasEspeak() { return std::system("espeak-ng --version >/dev/null 2>&1") == 0; }

SynthesisConfig SmallConfig(const std::string& name) {
  const std::string out = testing::TempDir() + "/synthesise_" + name;
  fs::remove_all(out);
  SynthesisConfig config;
  config.out = out;
  config.words = {"yes"};
  config.unknown_words = {"cat"};
  config.clips_per_word = 65;
  return config;
}

std::set<std::string> Lines(const std::string& path) {
  std::istringstream text(ReadTextFile(path));
  std::set<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.insert(line);
  return lines;
}

TEST(Synthesise, WritesTheOfficialLayoutWithHeldOutVoices) {
  if (!HasEspeak()) GTEST_SKIP() << "espeak-ng is not installed";
  const SynthesisConfig config = SmallConfig("layout");
  const SynthesisResult made = Synthesise(config);
  EXPECT_FALSE(made.reused);
  EXPECT_GE(made.clips, 70);
  const auto validation = Lines(config.out + "/validation_list.txt"),
             testing = Lines(config.out + "/testing_list.txt");
  EXPECT_FALSE(validation.empty());
  EXPECT_FALSE(testing.empty());
  std::set<std::string> held_out, heard;
  int64_t clips = 0;
  for (const auto& entry : fs::directory_iterator(config.out + "/yes")) {
    const std::string name = entry.path().filename().string();
    const bool in_lists = validation.contains("yes/" + name) || testing.contains("yes/" + name);
    (in_lists ? held_out : heard).insert(name.substr(0, 8));
    const Audio audio = ReadAudio(entry.path().string(), 0);
    EXPECT_EQ(audio.sample_rate_hz, 16000) << name;
    EXPECT_EQ(audio.samples.size(), 16000u) << name;
    ++clips;
  }
  EXPECT_GE(clips, 60);
  for (const std::string& speaker : held_out) EXPECT_FALSE(heard.contains(speaker)) << speaker;
  EXPECT_TRUE(fs::exists(config.out + "/_background_noise_/pink_noise.wav"));
  EXPECT_FALSE(fs::exists(config.out + ".partial"));

  EXPECT_TRUE(Synthesise(config).reused);
  SynthesisConfig other = config;
  other.clips_per_word = 66;
  EXPECT_THROW(Synthesise(other), Error);
}

TEST(Synthesise, DeletesOnlyWhatItLeftItself) {
  SynthesisConfig config = SmallConfig("partial");
  const std::string partial = config.out + ".partial", precious = partial + "/precious.wav";
  fs::remove_all(partial);
  fs::create_directories(partial);
  WriteFileAtomically(precious, std::string_view("years of work"));
  EXPECT_THROW(Synthesise(config), Error);
  EXPECT_EQ(ReadTextFile(precious), "years of work");
  fs::remove_all(partial);
  WriteFileAtomically(partial, std::string_view("a file"));
  EXPECT_THROW(Synthesise(config), Error);
  EXPECT_EQ(ReadTextFile(partial), "a file");
  if (!HasEspeak()) GTEST_SKIP() << "espeak-ng is not installed";
  fs::remove(partial);
  fs::create_directories(partial + "/yes");
  WriteFileAtomically(partial + "/unfinished", std::string_view());
  WriteFileAtomically(partial + "/yes/old.wav", std::string_view("half a recording"));
  config.out += "/";
  config.unknown_words = {};
  config.clips_per_word = 10;
  Synthesise(config);
  EXPECT_FALSE(fs::exists(partial));
  EXPECT_FALSE(fs::exists(config.out + "yes/old.wav"));
  EXPECT_FALSE(fs::exists(config.out + "unfinished"));
}

TEST(Synthesise, RefusesWordsThatAreNotWords) {
  SynthesisConfig config = SmallConfig("words");
  config.words = {"../yes"};
  EXPECT_THROW(Synthesise(config), Error);
  config.words = {};
  EXPECT_THROW(Synthesise(config), Error);
}

bool HasFlite() { return std::system("flite -lv >/dev/null 2>&1") == 0; }

TEST(Synthesise, APhraseIsSpokenBesideWhatSoundsLikeIt) {
  if (!HasEspeak()) GTEST_SKIP() << "espeak-ng is not installed";
  SynthesisConfig config = SmallConfig("phrase");
  const std::string list = config.out + ".txt";
  WriteFileAtomically(list, std::string_view("say\nhay\nrabbit\nrobin\nwater\ngarden\n"));
  config.words = {"hey robin"};
  config.unknown_words = {};
  config.clips_per_word = 8;
  config.word_list = list;
  config.near_misses = 4;
  config.other_words = 2;
  config.clips_per_other_word = 2;
  config.flite = HasFlite();
  config.voices = Voices::kTraining;
  config.seconds = 1.5;
  const SynthesisResult made = Synthesise(config);
  EXPECT_EQ(made.clips + made.skipped, 8 + 4 * 2 + 2 * 2);
  int64_t clips = 0;
  for (const auto& entry : fs::directory_iterator(config.out + "/hey_robin")) {
    EXPECT_EQ(ReadAudio(entry.path().string(), 0).samples.size(), 24000u);
    ++clips;
  }
  EXPECT_GE(clips, 7);
  EXPECT_TRUE(fs::exists(config.out + "/hey"));
  EXPECT_TRUE(fs::exists(config.out + "/robin"));
  // Training voices alone: nothing is listed.
  EXPECT_EQ(ReadTextFile(config.out + "/validation_list.txt"), "");
  EXPECT_EQ(ReadTextFile(config.out + "/testing_list.txt"), "");
  EXPECT_TRUE(Synthesise(config).reused);
  config.near_misses = 5;
  EXPECT_THROW(Synthesise(config), Error);
}

TEST(Synthesise, FliteSpeaksWithLongerAndShorterVocalTracts) {
  if (!HasFlite()) GTEST_SKIP() << "flite is not installed";
  SynthesisConfig config = SmallConfig("flite");
  config.espeak = false;
  config.flite = true;
  config.clips_per_word = 25;
  config.unknown_words = {};
  const SynthesisResult made = Synthesise(config);
  EXPECT_EQ(made.clips, 25);
  EXPECT_EQ(made.speakers, 20);  // four voices, five tracts
  EXPECT_EQ(Lines(config.out + "/validation_list.txt").size(), 5u);
  EXPECT_EQ(Lines(config.out + "/testing_list.txt").size(), 5u);
}

}  // namespace
}  // namespace bisparse::data
