// SPDX-License-Identifier: Apache-2.0
#include "data/synthesis/phonemes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "bisparse/error.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

bool HasEspeak() { return std::system("espeak-ng --version >/dev/null 2>&1") == 0; }

std::string Folder(const std::string& name) {
  const std::string folder = testing::TempDir() + "/phonemes_" + name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

TEST(Phonemes, StressAndLengthAreNoPhonemes) {
  EXPECT_THAT(SplitPhonemes("g_'oU"), ElementsAre("g", "oU"));
  EXPECT_THAT(SplitPhonemes("s_@_l_'u:_S_@_n_z"),
              ElementsAre("s", "@", "l", "u", "S", "@", "n", "z"));
  EXPECT_THAT(SplitPhonemes("h_'eI r_'0_b_I_n"), ElementsAre("h", "eI", "r", "0", "b", "I", "n"));
}

TEST(Phonemes, ReplacingWithinAKindIsCheaper) {
  const Phonemes up = {"V", "p"}, of = {"V", "v"}, at = {"a", "t"}, cup = {"k", "V", "p"};
  EXPECT_EQ(PhonemeDistance(up, up), 0.0);
  EXPECT_EQ(PhonemeDistance(up, of), 1.0);   // plosive → fricative
  EXPECT_EQ(PhonemeDistance(up, at), 1.0);   // vowel → vowel, plosive → plosive
  EXPECT_EQ(PhonemeDistance(up, cup), 1.0);  // one more
  EXPECT_EQ(PhonemeDistance(cup, up), 1.0);
  EXPECT_EQ(PhonemeDistance(up, {}), 2.0);
}

TEST(Phonemes, NearestWordsComeFirstWithoutThoseThatSoundAlike) {
  const Lexicon lexicon = {.words = {"go", "goh", "no", "gone", "dough", "water"},
                           .phonemes = {{"g", "oU"},
                                        {"g", "oU"},
                                        {"n", "oU"},
                                        {"g", "0", "n"},
                                        {"d", "oU"},
                                        {"w", "O", "t", "3"}}};
  const Phonemes go = {"g", "oU"};
  EXPECT_THAT(NearestWords(lexicon, go, {go}, 3, 1), ElementsAre("dough", "no", "gone"));
  EXPECT_THAT(NearestWords(lexicon, go, {go}, 100, 1), Not(Contains("goh")));
  const std::vector<std::string> any = RandomWords(lexicon, {go}, 3, 1);
  EXPECT_EQ(any.size(), 3u);
  EXPECT_THAT(any, Not(Contains("go")));
  EXPECT_EQ(RandomWords(lexicon, {go}, 3, 1), any);
  EXPECT_EQ(RandomWords(lexicon, {go}, 100, 1).size(), 4u);
}

TEST(Phonemes, PhrasesAreReplacedWordByWordAndHeardInParts) {
  const Lexicon lexicon = {.words = {"hay", "say", "hey", "robin", "rabbit"},
                           .phonemes = {{"h", "eI"},
                                        {"s", "eI"},
                                        {"h", "eI"},
                                        {"r", "0", "b", "I", "n"},
                                        {"r", "a", "b", "I", "t"}}};
  const std::vector<Phonemes> words = {{"h", "eI"}, {"r", "0", "b", "I", "n"}};
  const auto near = NearestPhrases(lexicon, "hey robin", words, 12, 1);
  EXPECT_THAT(near, Contains("hey"));
  EXPECT_THAT(near, Contains("robin"));
  EXPECT_THAT(near, Contains("say robin"));
  EXPECT_THAT(near, Contains("hey rabbit"));
  EXPECT_THAT(near, Not(Contains("hey robin")));
  EXPECT_THAT(near, Not(Contains("hay robin")));  // sounds alike
  for (const std::string& phrase : RandomPhrases(lexicon, {}, 2, 2, 1))
    EXPECT_FALSE(phrase.empty());
}

TEST(Phonemes, EspeakSpellsAWordList) {
  if (!HasEspeak()) GTEST_SKIP() << "espeak-ng is not installed";
  const std::string folder = Folder("list");
  WriteFileAtomically(folder + "/words", std::string_view("go\nno\nNo\nit's\ngood\nx\n"));
  const Lexicon lexicon = ReadLexicon(folder + "/words", folder);
  ASSERT_THAT(lexicon.words, ElementsAre("go", "good", "no"));
  ASSERT_EQ(lexicon.phonemes.size(), 3u);
  EXPECT_EQ(lexicon.phonemes[0].front(), "g");
  EXPECT_EQ(lexicon.phonemes[0].back(), lexicon.phonemes[2].back());
  WriteFileAtomically(folder + "/none", std::string_view("It's\n1st\n"));
  EXPECT_THROW(ReadLexicon(folder + "/none", folder), Error);
}

}  // namespace
}  // namespace bisparse::data
