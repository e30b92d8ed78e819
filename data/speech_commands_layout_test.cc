// SPDX-License-Identifier: Apache-2.0
// Tests the official split rule and the scanning of folders.
#include "data/speech_commands_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "bisparse/error.h"
#include "data/audio.h"
#include "data/recording_lists.h"
#include "data/speakers.h"

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
  EXPECT_EQ(folders.recordings(), 5);
  EXPECT_THAT(
      folders.warnings,
      ElementsAre(HasSubstr("/_other_: 1 recordings are left out, for '_' begins no word"),
                  HasSubstr("/empty is no class: it holds no recordings that can be read, "
                            "but 1 without extension"),
                  HasSubstr("1 recordings are left out, for they lie in no word's folder")));
}

TEST(ScanWordFolders, CountsWhatItPassesOver) {
  const std::string root = NewFolder("passed_over");
  for (const char* path : {"/yes/a.wav", "/yes/._a.wav", "/yes/.DS_Store", "/yes/b.m4a",
                           "/yes/c.M4A", "/yes/notes.txt", "/no/bob/d.wav", "/no/bob/.e.wav"}) {
    Touch(root + path);
  }
  std::filesystem::create_symlink("/nowhere.wav", root + "/yes/dead.wav");
  std::filesystem::create_directory_symlink(root, root + "/yes/loop");
  const WordFolders folders = ScanWordFolders(root);
  EXPECT_THAT(folders.words, ElementsAre(Pair("no", ElementsAre(root + "/no/bob/d.wav")),
                                         Pair("yes", ElementsAre(root + "/yes/a.wav"))));
  EXPECT_EQ(PassedOverText(folders.passed_over.at("yes")),
            "2 .m4a, 1 .txt, 2 hidden, 1 unreadable");
  EXPECT_EQ(PassedOverText(folders.passed_over.at("no")), "1 hidden");
}

TEST(ScanWordFolders, TakesEveryFormatOfThisLibrary) {
  const std::string root = NewFolder("formats");
  for (const std::string& extension : RecordingExtensions()) Touch(root + "/yes/a" + extension);
  EXPECT_EQ(ScanWordFolders(root).words.at("yes").size(), RecordingExtensions().size());
}

std::string Refusal(const std::string& root) {
  try {
    ScanWordFolders(root);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

TEST(ScanWordFolders, SaysWhichFormatsItSaw) {
  const std::string root = NewFolder("seen");
  Touch(root + "/yes/a.m4a");
  Touch(root + "/no/b.m4a");
  EXPECT_THAT(Refusal(root), HasSubstr("holds no folder with recordings, but 2 .m4a (hint: read "
                                       "are .wav"));
  const std::string loose = NewFolder("loose");
  Touch(loose + "/a.wav");
  EXPECT_THAT(Refusal(loose), HasSubstr("but 1 recordings beside the folders"));
}

TEST(ScanWordFolders, RefusesAFolderForEachSplit) {
  const std::string root = NewFolder("splits");
  for (const char* split : {"training", "validation", "testing"}) {
    Touch(root + "/" + split + "/yes/a.wav");
  }
  EXPECT_THAT(Refusal(root), HasSubstr("has a folder for each split ('testing' …)"));
}

TEST(ScanWordFolders, RefusesWhatIsNotADataSet) {
  EXPECT_THROW(ScanWordFolders(NewFolder("absent") + "/no"), Error);
  EXPECT_THROW(ScanWordFolders(NewFolder("bare")), Error);
  Touch(testing::TempDir() + "bisparse_layout_test_file");
  EXPECT_THROW(ScanWordFolders(testing::TempDir() + "bisparse_layout_test_file"), Error);
}

/// An archive of recordings, and its rule.
class Lists : public testing::Test {
 protected:
  void Record(const std::string& below) const { Touch(config_.root + "/" + below); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(config_.root + "/" + name, std::ios::binary) << text;
  }
  SplitRule Rule() const { return SplitRule(config_, ScanWordFolders(config_.root)); }
  Split Of(const std::string& below) const { return Rule().Of(config_.root + "/" + below); }
  std::string Fault() const {
    try {
      Rule();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "";
  }
  /// Recordings in validation and testing.
  std::pair<int, int> HeldOut() const {
    const WordFolders folders = ScanWordFolders(config_.root);
    const SplitRule rule(config_, folders);
    std::pair<int, int> count;
    for (const auto& [word, paths] : folders.words) {
      for (const std::string& path : paths) {
        count.first += rule.Of(path) == Split::kValidation;
        count.second += rule.Of(path) == Split::kTest;
      }
    }
    return count;
  }

  SpeechCommandsConfig config_ = [] {
    SpeechCommandsConfig config;
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    config.root = NewFolder(std::string("lists_") + test->name());
    return config;
  }();
};

TEST_F(Lists, DecideWhereThereAreBoth) {
  for (const char* path : {"yes/00176480_nohash_0.flac", "no/a.wav", "yes/a.wav", "yes/t.wav",
                           "yes/026290a7_nohash_0.wav"}) {
    Record(path);
  }
  Write("validation_list.txt", "yes/00176480_nohash_0.wav\r\nno/a.wav\n\n");
  Write("testing_list.txt", "yes/t.wav\n");
  EXPECT_EQ(Of("yes/00176480_nohash_0.flac"), Split::kValidation);
  EXPECT_EQ(Of("no/a.wav"), Split::kValidation);
  EXPECT_EQ(Of("yes/a.wav"), Split::kTrain);
  EXPECT_EQ(Of("yes/t.wav"), Split::kTest);
  EXPECT_EQ(Of("yes/026290a7_nohash_0.wav"), Split::kTrain);
  EXPECT_THAT(Rule().warnings(), testing::IsEmpty());
}

TEST_F(Lists, OneThatIsMissingIsMadeUpBySpeakers) {
  // By the official rule 026290a7 is for validation, 0c540988 for testing, 00176480 for training.
  for (const char* speaker : {"026290a7", "0c540988", "00176480"}) {
    Record(std::string("yes/") + speaker + "_nohash_0.wav");
  }
  Record("yes/listed.wav");
  const auto splits = [&] {
    return std::array{Of("yes/026290a7_nohash_0.wav"), Of("yes/0c540988_nohash_0.wav"),
                      Of("yes/00176480_nohash_0.wav"), Of("yes/listed.wav")};
  };
  Write("testing_list.txt", "yes/listed.wav\n");
  EXPECT_THAT(splits(),
              ElementsAre(Split::kValidation, Split::kTrain, Split::kTrain, Split::kTest));
  Write("testing_list.txt", "");  // an empty list is a list: no clip is for testing
  EXPECT_EQ(Of("yes/0c540988_nohash_0.wav"), Split::kTrain);
  std::filesystem::remove(config_.root + "/testing_list.txt");
  Write("validation_list.txt", "yes/listed.wav\n");
  EXPECT_THAT(splits(),
              ElementsAre(Split::kTrain, Split::kTest, Split::kTrain, Split::kValidation));
}

TEST_F(Lists, MeanTheSameHoweverTheyAreWritten) {
  for (const char* word : {"yes", "no"}) {
    for (int i = 0; i < 6; ++i) Record(fmt::format("{}/{}{}.wav", word, word, i));
  }
  const std::string good = "yes/yes0.wav\nyes/yes1.wav\nno/no0.wav\n";
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
      text.replace(at, from.size(), to);
    }
    return text;
  };
  Write("testing_list.txt", "");
  for (const std::string& text :
       {good, "\xef\xbb\xbf" + good, with("\n", "\r\n"), with("\n", "\r"), with("\n", " \n"),
        with("/", "\\"), with("yes/", "./yes/"), with("yes/", "/home/me/speech/yes/"),
        with("yes/", "Yes/"), with(".wav", ".WAV"), with(".wav", ".mp3"), with(".wav", ""),
        with("yes/", ""), with(".wav", ".wav\tyes"), with("yes", "YES")}) {
    SCOPED_TRACE(text);
    Write("validation_list.txt", text);
    EXPECT_EQ(Of("yes/yes0.wav"), Split::kValidation);
    EXPECT_EQ(Of("yes/yes1.wav"), Split::kValidation);
    EXPECT_EQ(Of("no/no0.wav"), Split::kValidation);
    EXPECT_EQ(HeldOut(), (std::pair{3, 0}));
    EXPECT_THAT(Rule().warnings(), testing::IsEmpty());
  }
}

TEST_F(Lists, NameWhatMatchesNothing) {
  for (const char* path : {"yes/a.wav", "no/a.wav", "yes/b.wav"}) Record(path);
  Write("testing_list.txt", "");
  Write("validation_list.txt", "yes/b.wav\na.wav\nyes/c.wav\n");  // a.wav: which one?
  EXPECT_EQ(HeldOut(), (std::pair{1, 0}));
  EXPECT_THAT(
      Rule().warnings(),
      ElementsAre(HasSubstr("validation_list.txt: 2 of 3 lines name no recording, or one of "
                            "several, the first is 'a.wav'")));
  Write("validation_list.txt", "a.wav\na.wav\n");  // both of them
  EXPECT_EQ(HeldOut(), (std::pair{2, 0}));
  Write("validation_list.txt", "yes-b.wav\n");
  EXPECT_THAT(Fault(), HasSubstr("validation_list.txt: 1 of 1 lines name no recording"));
  Write("validation_list.txt", std::string("\xff\xfey\0e\0", 6));
  EXPECT_THAT(Fault(), HasSubstr("is UTF-16 or no text at all (hint: save it as UTF-8)"));
  Write("validation_list.txt", std::string("y\0e\0s\0", 6));
  EXPECT_THAT(Fault(), HasSubstr("is UTF-16"));
}

TEST_F(Lists, RefuseAClipInBoth) {
  Record("yes/a.wav");
  Write("validation_list.txt", "yes/a.wav\n");
  Write("testing_list.txt", "yes/A.flac\n");
  EXPECT_THAT(Fault(), HasSubstr("'yes/A.flac' is in the validation list too"));
}

TEST_F(Lists, SpeakersHaveFoldersOrAFile) {
  for (const char* word : {"yes", "no"}) {
    for (const char* speaker : {"bob", "di", "eve", "flo", "gus"}) {
      for (int i = 0; i < 3; ++i) Record(fmt::format("{}/{}/{}.wav", word, speaker, i));
    }
  }
  const auto one_split_each = [&](const std::string& pattern) {
    for (const char* speaker : {"bob", "di", "eve", "flo", "gus"}) {
      std::set<Split> splits;
      for (const char* word : {"yes", "no"}) {
        for (int i = 0; i < 3; ++i) {
          splits.insert(Of(fmt::format(fmt::runtime(pattern), word, speaker, i)));
        }
      }
      EXPECT_EQ(splits.size(), 1u) << speaker;
    }
    // Five speakers, 10 % each: one a split, though the hash alone holds out none of them.
    EXPECT_EQ(HeldOut(), (std::pair{6, 6}));
    EXPECT_THAT(Rule().warnings(), testing::IsEmpty());
  };
  one_split_each("{}/{}/{}.wav");

  // The same recordings side by side, and a file that says who speaks.
  config_.root = NewFolder("lists_speakers_file");
  std::string csv = "path,speaker\n";
  for (const char* word : {"yes", "no"}) {
    for (const char* speaker : {"bob", "di", "eve", "flo", "gus"}) {
      for (int i = 0; i < 3; ++i) {
        Record(fmt::format("{}/{}_{}.wav", word, speaker, i));
        csv += fmt::format("{}/{}_{}.wav,{}\n", word, speaker, i, speaker);
      }
    }
  }
  EXPECT_THAT(Rule().warnings(),
              ElementsAre(HasSubstr("30 of 30 recordings do not say who speaks")));
  Write("speakers.csv", csv);
  one_split_each("{}/{}_{}.wav");
  config_.speakers = SpeakerSource::kName;
  EXPECT_THAT(Rule().warnings(), ElementsAre(HasSubstr("do not say who speaks")));
  config_.speakers = SpeakerSource::kFile;
  one_split_each("{}/{}_{}.wav");
  Write("speakers.csv", csv + "yes/zoe_0.wav,zoe\n");
  EXPECT_THAT(Rule().warnings(),
              ElementsAre(HasSubstr("speakers.csv: 1 of 31 lines name no recording and a speaker, "
                                    "the first is 'yes/zoe_0.wav'")));
  std::filesystem::remove(config_.root + "/speakers.csv");
  EXPECT_THAT(Fault(), HasSubstr("holds neither speakers.csv nor speakers.txt"));
  Write("speakers.txt", csv);
  EXPECT_EQ(HeldOut(), (std::pair{6, 6}));
}

TEST_F(Lists, OneSpeakerIsSaidAndHisRecordingsAreSplit) {
  for (int i = 0; i < 30; ++i) Record(fmt::format("yes/ann/{}.wav", i));
  EXPECT_THAT(Rule().warnings(),
              ElementsAre(HasSubstr("all 30 recordings are by one speaker, 'ann'")));
  const auto [validation, test] = HeldOut();
  EXPECT_GE(validation, 1);
  EXPECT_GE(test, 1);
  // Official names follow the official rule to the letter: all in one split.
  config_.root = NewFolder("lists_one_official");
  for (int i = 0; i < 30; ++i) Record(fmt::format("yes/alice_nohash_{}.wav", i));
  EXPECT_THAT(Rule().warnings(), ElementsAre(HasSubstr("by one speaker, 'alice'")));
  for (int i = 0; i < 30; ++i) {
    const std::string name = fmt::format("yes/alice_nohash_{}.wav", i);
    EXPECT_EQ(Of(name), SplitOfSpeaker(name, 10, 10));
  }
}

}  // namespace
}  // namespace bisparse::data
