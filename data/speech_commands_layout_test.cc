// SPDX-License-Identifier: Apache-2.0
// Tests the official split rule and the scanning of folders.
#include "data/speech_commands_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "bisparse/error.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string NewFolder(const std::string& name) {
  const std::string folder = testing::TempDir() + "bisparse_layout_test_" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

void Touch(const std::string& path) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << "x";
}

TEST(SplitOfSpeaker, FollowsThePublishedLists) {
  // Speakers as the lists of versions 0.01 and 0.02 of the data set have them.
  for (const char* name :
       {"026290a7_nohash_0.wav", "060cd039_nohash_0.wav", "0d82fd99_nohash_0.wav"}) {
    EXPECT_EQ(SplitOfSpeaker(name, 10, 10), Split::kValidation) << name;
  }
  for (const char* name :
       {"0c540988_nohash_0.wav", "0cb74144_nohash_2.wav", "1528225c_nohash_1.wav"}) {
    EXPECT_EQ(SplitOfSpeaker(name, 10, 10), Split::kTest) << name;
  }
  for (const char* name :
       {"00176480_nohash_0.wav", "004ae714_nohash_1.wav", "0132a06d_nohash_3.wav"}) {
    EXPECT_EQ(SplitOfSpeaker(name, 10, 10), Split::kTrain) << name;
  }
}

TEST(SplitOfSpeaker, DependsOnTheSpeakerOnly) {
  for (int speaker = 0; speaker < 200; ++speaker) {
    const std::string name = "speaker" + std::to_string(speaker);
    const Split split = SplitOfSpeaker(name + "_nohash_0.wav", 10, 10);
    EXPECT_EQ(SplitOfSpeaker("some/folder/" + name + "_nohash_17.flac", 10, 10), split);
  }
}

TEST(SplitOfSpeaker, KeepsThePercentages) {
  int count[3] = {};
  for (int speaker = 0; speaker < 10000; ++speaker) {
    ++count[static_cast<int>(SplitOfSpeaker(std::to_string(speaker), 20, 5))];
  }
  EXPECT_NEAR(count[static_cast<int>(Split::kValidation)], 2000, 160);  // 4 standard deviations
  EXPECT_NEAR(count[static_cast<int>(Split::kTest)], 500, 90);
  for (int speaker = 0; speaker < 100; ++speaker) {
    EXPECT_EQ(SplitOfSpeaker(std::to_string(speaker), 0, 0), Split::kTrain);
    EXPECT_EQ(SplitOfSpeaker(std::to_string(speaker), 0, 100.1), Split::kTest);
  }
}

TEST(ScanWordFolders, TakesRecordingsInOrderAndNothingElse) {
  const std::string root = NewFolder("scan");
  for (const char* path : {"/yes/b.wav", "/yes/a.FLAC", "/yes/notes.txt", "/no/c.wav",
                           "/.git/d.wav", "/_background_noise_/n.wav", "/_unknown_/u.wav",
                           "/_silence_/s.wav", "/_other_/x.wav", "/empty/README", "/loose.wav"}) {
    Touch(root + path);
  }
  const WordFolders folders = ScanWordFolders(root);
  EXPECT_THAT(folders.words,
              ElementsAre(Pair("no", ElementsAre(root + "/no/c.wav")),
                          Pair("yes", ElementsAre(root + "/yes/a.FLAC", root + "/yes/b.wav"))));
  EXPECT_THAT(folders.background, ElementsAre(root + "/_background_noise_/n.wav"));
  EXPECT_THAT(folders.unknown, ElementsAre(root + "/_unknown_/u.wav"));
  EXPECT_THAT(folders.silence, ElementsAre(root + "/_silence_/s.wav"));
}

TEST(ScanWordFolders, RefusesWhatIsNotADataSet) {
  EXPECT_THROW(ScanWordFolders(NewFolder("absent") + "/no"), Error);
  EXPECT_THROW(ScanWordFolders(NewFolder("bare")), Error);
  Touch(testing::TempDir() + "bisparse_layout_test_file");
  EXPECT_THROW(ScanWordFolders(testing::TempDir() + "bisparse_layout_test_file"), Error);
}

TEST(SplitRule, FollowsTheListsWhereThereIsOne) {
  const std::string root = NewFolder("lists");
  std::ofstream(root + "/validation_list.txt") << "yes/00176480_nohash_0.wav\r\nno/a.wav\n\n";
  std::ofstream(root + "/testing_list.txt") << "yes/t.wav\n";
  const SplitRule rule(root, 10, 10);
  EXPECT_TRUE(rule.by_lists());
  EXPECT_EQ(rule.Of(root + "/yes/00176480_nohash_0.flac"), Split::kValidation);
  EXPECT_EQ(rule.Of(root + "/no/a.wav"), Split::kValidation);
  EXPECT_EQ(rule.Of(root + "/yes/a.wav"), Split::kTrain);
  EXPECT_EQ(rule.Of(root + "/yes/t.wav"), Split::kTest);
  EXPECT_EQ(rule.Of(root + "/yes/026290a7_nohash_0.wav"), Split::kTrain);

  std::ofstream(root + "/testing_list.txt")
      << "";  // an empty list is a list: no clip is for testing
  std::filesystem::remove(root + "/validation_list.txt");
  EXPECT_TRUE(SplitRule(root, 10, 10).by_lists());
  std::filesystem::remove(root + "/testing_list.txt");
  const SplitRule by_speaker(root, 10, 10);
  EXPECT_FALSE(by_speaker.by_lists());
  EXPECT_EQ(by_speaker.Of(root + "/yes/026290a7_nohash_0.wav"), Split::kValidation);
}

TEST(SplitRule, RefusesAClipInBothLists) {
  const std::string root = NewFolder("both");
  std::ofstream(root + "/validation_list.txt") << "yes/a.wav\n";
  std::ofstream(root + "/testing_list.txt") << "yes/a.wav\n";
  try {
    SplitRule(root, 10, 10);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("'yes/a.wav' is in the validation list too"));
  }
}

}  // namespace
}  // namespace bisparse::data
