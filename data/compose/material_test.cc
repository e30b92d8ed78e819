// SPDX-License-Identifier: Apache-2.0
#include "data/compose/material.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "bisparse/error.h"
#include "data/audio.h"
#include "deploy/base/file.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr Split kSplits[] = {Split::kTrain, Split::kValidation, Split::kTest};

class MaterialTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Touch(const std::string& name) const {  // recordings are found, not read
    fs::create_directories(fs::path(Path(name)).parent_path());
    WriteFileAtomically(Path(name), std::string_view("sound"));
  }
  void SetUp() override {
    Touch("clips/go/a_nohash_0.wav");
    Touch("clips/go/b_nohash_0.wav");
    Touch("clips/tree/a_nohash_0.wav");
    WriteFileAtomically(Path("clips/validation_list.txt"), std::string_view("go/b_nohash_0.wav\n"));
    WriteFileAtomically(Path("clips/testing_list.txt"), std::string_view());
  }
  ComposeConfig Config(Split split) const {
    ComposeConfig config;
    config.clips = Path("clips");
    config.words = {"go"};
    config.split = split;
    return config;
  }
  static std::vector<std::string> NamesOf(const std::vector<SoundGroup>& groups) {
    std::vector<std::string> names;
    for (const SoundGroup& group : groups) {
      for (const SoundSource& source : group.sources)
        names.push_back(group.name + ":" + fs::path(source.path).filename().string());
    }
    return names;
  }
  static void ExpectError(const ComposeConfig& config, const std::string& message) {
    try {
      FindMaterial(config);
      ADD_FAILURE() << "no error, expected " << message;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
  const TemporaryFolder folder_;
};

TEST_F(MaterialTest, WordsFollowTheListsAndOtherFoldersAreOtherWords) {
  const Material training = FindMaterial(Config(Split::kTrain));
  EXPECT_THAT(NamesOf(training.words), ElementsAre("go:a_nohash_0.wav"));
  EXPECT_THAT(NamesOf(training.others), ElementsAre("tree:a_nohash_0.wav"));
  const Material validation = FindMaterial(Config(Split::kValidation));
  EXPECT_THAT(NamesOf(validation.words), ElementsAre("go:b_nohash_0.wav"));
  EXPECT_TRUE(validation.others.empty());
  ExpectError(Config(Split::kTest), "holds no recordings of 'go' in the test split");
  ComposeConfig config = Config(Split::kTrain);
  config.words = {"stop"};
  ExpectError(config, "holds no recordings of 'stop'");
  config.words = {"go", "go"};
  ExpectError(config, "holds no recordings of 'go'");
}

TEST_F(MaterialTest, ATestSetIsTheTestAlone) {
  Touch("test/go/c.wav");
  Touch("test/_unknown_/d.wav");
  ComposeConfig config = Config(Split::kTest);
  config.clips = Path("test");
  config.words.clear();
  const Material material = FindMaterial(config);
  EXPECT_THAT(NamesOf(material.words), ElementsAre("go:c.wav"));
  EXPECT_THAT(NamesOf(material.others), ElementsAre("_unknown_:d.wav"));
  config.split = Split::kValidation;
  ExpectError(config, "is a test set, but the validation split is asked for");
}

TEST_F(MaterialTest, OtherFoldersOfAWordAreLeftOut) {
  Touch("others/go/x.wav");
  Touch("others/cup/x.wav");
  ComposeConfig config = Config(Split::kTrain);
  config.others = {Path("others")};
  config.whole = {ComposeConfig::Kind::kOthers};
  const Material material = FindMaterial(config);
  EXPECT_THAT(NamesOf(material.others), ElementsAre("cup:x.wav", "tree:a_nohash_0.wav"));
  EXPECT_THAT(material.warnings,
              testing::Contains(HasSubstr("others/go: 1 recordings are left out")));
}

TEST_F(MaterialTest, NoSourceIsInTwoSplitsAndAllAreInOne) {
  for (int i = 0; i < 40; ++i) {
    Touch(fmt::format("noise/kind{}/1-{}-A.wav", i % 4, i));
    Touch(fmt::format("noise/kind{}/1-{}-B.wav", (i + 1) % 4, i));
  }
  for (int i = 0; i < 5; ++i) Touch(fmt::format("talk/{}/deep/{}-1.wav", i, i));
  std::map<std::string, std::set<Split>> splits_of;
  std::set<std::string> files;
  for (const Split split : kSplits) {
    ComposeConfig config = Config(split);
    if (split == Split::kTest) config.whole = {ComposeConfig::Kind::kClips};
    config.noise = {Path("noise")};
    config.talk = {Path("talk")};
    const Material material = FindMaterial(config);
    for (const SoundGroup& group : material.noise) {
      for (const SoundSource& source : group.sources) {
        splits_of[NoiseSourceOf(source.path)].insert(split);
        EXPECT_TRUE(files.insert(source.path).second);
      }
    }
    for (const SoundGroup& group : material.talk) {
      splits_of["talk " + group.name].insert(split);
      EXPECT_EQ(group.sources.size(), 1u);
    }
    EXPECT_EQ(material.talk_without_transcript, std::ssize(material.talk));
  }
  EXPECT_EQ(files.size(), 80u);
  EXPECT_EQ(splits_of.size(), 45u);
  for (const auto& [source, splits] : splits_of) EXPECT_EQ(splits.size(), 1u) << source;
}

TEST_F(MaterialTest, SplitsAreTheSameForEverySeedAndMachine) {
  for (int i = 0; i < 3; ++i) Touch(fmt::format("talk/speaker{}/a.wav", i));
  std::vector<std::string> speakers;
  for (const Split split : kSplits) {
    ComposeConfig config = Config(split);
    if (split == Split::kTest) config.whole = {ComposeConfig::Kind::kClips};
    config.talk = {Path("talk")};
    for (const SoundGroup& group : FindMaterial(config).talk) speakers.push_back(group.name);
  }
  EXPECT_THAT(speakers, ElementsAre("speaker1", "speaker2", "speaker0"));
}

TEST_F(MaterialTest, BackgroundIsCutAsInTraining) {
  Touch("_background_noise_/tap.wav");
  ComposeConfig config = Config(Split::kValidation);
  config.noise = {Path("_background_noise_")};
  const Material material = FindMaterial(config);
  ASSERT_EQ(material.noise.size(), 1u);
  EXPECT_EQ(material.noise[0].name, "tap");
  EXPECT_EQ(material.noise[0].sources[0].from, 0.8);
  EXPECT_EQ(material.noise[0].sources[0].to, 0.9);
}

TEST_F(MaterialTest, TalkThatHoldsAWordIsPassedOver) {
  for (const char* name : {"1-0", "1-1", "1-2"}) Touch(fmt::format("talk/1/{}.wav", name));
  WriteFileAtomically(Path("talk/1/1.trans.txt"),
                      std::string_view("1-0 LET'S GO THERE\n1-1 THE GOAT\n"));
  ComposeConfig config = Config(Split::kTrain);
  config.talk = {Path("talk")};
  ExpectError(config, "holds 1 speakers, too few to share out");
  config.whole = {ComposeConfig::Kind::kTalk};
  const Material material = FindMaterial(config);
  EXPECT_THAT(NamesOf(material.talk), ElementsAre("1:1-1.wav", "1:1-2.wav"));
  EXPECT_EQ(material.talk_with_words, 1);
  EXPECT_EQ(material.talk_without_transcript, 1);
}

TEST_F(MaterialTest, FoldersThatHoldNothing) {
  fs::create_directories(Path("empty"));
  for (auto list : {&ComposeConfig::noise, &ComposeConfig::talk, &ComposeConfig::others}) {
    for (const char* name : {"empty", "absent"}) {
      ComposeConfig config = Config(Split::kTrain);
      config.*list = {Path(name)};
      ExpectError(config,
                  std::string(name) == "empty" ? "empty: holds no " : "absent: not a folder");
    }
  }
  Touch("talk/1/1-0.wav");
  WriteFileAtomically(Path("talk/1/1.trans.txt"), std::string_view("1-0 GO\n"));
  ComposeConfig config = Config(Split::kTrain);
  config.talk = {Path("talk")};
  config.whole = {ComposeConfig::Kind::kTalk};
  ExpectError(config, "talk holds nothing of the training split");
}

TEST(NoiseSource, IsTheNameWithoutTheTake) {
  EXPECT_EQ(NoiseSourceOf("rain/1-17367-A.opus"), "1-17367");
  EXPECT_EQ(NoiseSourceOf("A-B.wav"), "A");
  EXPECT_EQ(NoiseSourceOf("-A.wav"), "-A");
  EXPECT_EQ(NoiseSourceOf("tap_1.wav"), "tap_1");
}

TEST(HoldsWord, TakesWholeWords) {
  EXPECT_TRUE(HoldsWord("GO", {"go"}));
  EXPECT_TRUE(HoldsWord("up, Go!", {"go"}));
  EXPECT_TRUE(HoldsWord("THE CAT'S TAIL", {"cat"}));
  EXPECT_FALSE(HoldsWord("GOAT UPGO CATS", {"go", "cat"}));
  EXPECT_FALSE(HoldsWord("", {"go"}));
  EXPECT_TRUE(HoldsWord("OH HEY  ROBIN", {"hey_robin"}));
  EXPECT_FALSE(HoldsWord("HEY THE ROBIN", {"hey_robin"}));
}

}  // namespace
}  // namespace bisparse::data
