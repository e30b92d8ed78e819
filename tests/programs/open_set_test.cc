// SPDX-License-Identifier: Apache-2.0
// The open set: worked by hand, and through bisparse-evaluate.
#include "apps/support/open_set.h"

#include <cmath>

#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

using apps::OpenSet;
using apps::OpenSetOf;
using apps::UnknownFolder;
using apps::WordScore;

const std::vector<std::string> kNames = {"go", "up", "_unknown_", "_silence_"};

TEST(OpenSet, ScoresAreOfTheLikeliestWord) {
  const std::vector<float> logits = {std::log(2.0f), std::log(3.0f), std::log(4.0f), 0.0f};
  const WordScore score = apps::WordScoreOf(logits, kNames);
  EXPECT_EQ(score.word, 1u);
  EXPECT_NEAR(score.score, 0.3, 1e-6);  // 3 of 2 + 3 + 4 + 1
  // As far apart as floats are: the words have nothing.
  const WordScore none = apps::WordScoreOf(std::vector<float>{-1e30f, -1e30f, 1e30f, 0}, kNames);
  EXPECT_EQ(none.word, 0u);
  EXPECT_EQ(none.score, 0);
}

/// Ten clips of words, `wrong` of which are taken for the other word, scores 0.1, 0.2 … 1; four of _unknown_; one of _silence_.
struct Clips {
  std::vector<int32_t> labels, answers;
  std::vector<WordScore> scores;
  explicit Clips(int wrong) {
    for (int i = 1; i <= 10; ++i) Add(0, i <= wrong ? 1 : 0, i <= wrong ? 1u : 0u, i / 10.0);
    Add(2, 2, 0, 0.05);
    Add(2, 3, 1, 0.15);  // taken for silence: rejected
    Add(2, 1, 1, 0.2);
    Add(2, 0, 0, 0.7);
    Add(3, 3, 0, 0.99);
  }
  void Add(int label, int answer, size_t word, double score) {
    labels.push_back(label);
    answers.push_back(answer);
    scores.push_back({word, score});
  }
  std::optional<OpenSet> Of(const UnknownFolder* folder = nullptr) const {
    return OpenSetOf(kNames, labels, answers, scores, folder);
  }
};

TEST(OpenSet, IsWorkedByHand) {
  const std::optional<OpenSet> open_set = Clips(0).Of();
  ASSERT_TRUE(open_set.has_value());
  EXPECT_EQ(open_set->words_found, 1);
  EXPECT_EQ(open_set->unknown_rejected, 0.5);
  ASSERT_TRUE(open_set->at_90_found.has_value());
  EXPECT_EQ(open_set->at_90_found->threshold, 0.2);
  EXPECT_EQ(open_set->at_90_found->words_found, 0.9);
  EXPECT_EQ(open_set->at_90_found->unknown_accepted, 0.5);  // 0.2 is at the threshold
  EXPECT_FALSE(open_set->at_90_found->folder_accepted.has_value());
  ASSERT_EQ(open_set->curve.size(), 50u);
  EXPECT_EQ(open_set->curve.front().threshold, 0.6);  // half of ten
  EXPECT_EQ(open_set->curve.front().unknown_accepted, 0.25);
  EXPECT_EQ(open_set->curve.back().threshold, 0.1);  // 99 % of ten are ten
  EXPECT_EQ(open_set->curve.back().words_found, 1);
  for (size_t i = 1; i < open_set->curve.size(); ++i) {
    EXPECT_LE(open_set->curve[i].threshold, open_set->curve[i - 1].threshold);
    EXPECT_GE(open_set->curve[i].unknown_accepted, open_set->curve[i - 1].unknown_accepted);
  }
}

TEST(OpenSet, EndsWhereTheWordsAreMistaken) {
  const std::optional<OpenSet> most = Clips(1).Of();
  ASSERT_TRUE(most.has_value());
  EXPECT_EQ(most->words_found, 0.9);
  EXPECT_EQ(most->at_90_found->threshold, 0.2);
  EXPECT_EQ(most->curve.size(), 41u);  // 50 … 90
  const std::optional<OpenSet> few = Clips(6).Of();
  ASSERT_TRUE(few.has_value());
  EXPECT_FALSE(few->at_90_found.has_value());
  EXPECT_TRUE(few->curve.empty());
  EXPECT_TRUE(apps::OpenSetJson(*few)["at_90_found"]["threshold"].is_null());
  EXPECT_THAT(apps::FormatOpenSet(*few), HasSubstr("at no threshold: 40.0 % are right"));
}

TEST(OpenSet, NeedsWordsAndOthers) {
  Clips silent(0);
  for (int32_t& label : silent.labels) label = 3;
  EXPECT_FALSE(silent.Of().has_value());
  Clips closed(0);
  for (int32_t& label : closed.labels) label = 0;
  EXPECT_FALSE(closed.Of().has_value());
  EXPECT_FALSE(OpenSetOf(kNames, closed.labels, closed.answers, {}, nullptr).has_value());
}

TEST(OpenSet, CountsAFoldersWordsApart) {
  UnknownFolder folder;
  folder.words = {{.name = "cup", .clips = {{1, 0.9}, {1, 0.3}, {0, 0.2}, {0, 0.1}}},
                  {.name = "tree", .clips = {{0, 0.1}}}};
  const std::optional<OpenSet> open_set = Clips(0).Of(&folder);
  ASSERT_TRUE(open_set.has_value());
  EXPECT_EQ(open_set->folder_clips, 5);
  EXPECT_EQ(open_set->at_90_found->folder_accepted, 0.6);
  ASSERT_EQ(open_set->folder_words.size(), 2u);
  EXPECT_EQ(open_set->folder_words[0].accepted, 0.75);
  EXPECT_EQ(open_set->folder_words[0].taken_for, "up");
  EXPECT_EQ(open_set->folder_words[1].accepted, 0);
  EXPECT_EQ(open_set->folder_words[1].taken_for, "");
  EXPECT_EQ(open_set->folder_accepted_by_word, 0.375);
}

using OpenSetProgram = Programs;

TEST_F(OpenSetProgram, EvaluateTakesAFolderOfOtherWords) {
  WriteTestSet("test");
  WriteTone("others/cup/1.wav", 350);
  WriteTone("others/cup/2.wav", 900);
  WriteTone("others/tree/speaker/1.wav", 1200);
  WriteTone("others/yes/1.wav", 350);
  WriteText("others/tree/broken.wav", "this is not sound");
  const std::string flags = "model.bisparse --data test --unknown others ";
  const Result result = Run("bisparse-evaluate", flags + "--json -");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("others/yes: 1 recordings are left out"),
                                HasSubstr("skipped others/tree/broken.wav")));
  const Json open_set = Json::parse(result.out)["open_set"];
  EXPECT_EQ(open_set["folder"]["clips"], 3);
  EXPECT_EQ(open_set["folder"]["skipped"], 1);
  EXPECT_EQ(open_set["folder"]["words"][0]["word"], "cup");
  // The example answers at random: what its own scores say.
  std::vector<double> found;
  for (const char* word : {"yes", "no"}) {
    for (const auto& recording : fs::directory_iterator(Path("test/" + std::string(word)))) {
      const std::vector<double> scores = Scores(recording.path());
      const bool right = (scores[0] >= scores[1]) == (std::string(word) == "yes");
      if (right) found.push_back(std::max(scores[0], scores[1]));
    }
  }
  std::sort(found.rbegin(), found.rend());
  // 8 clips of words: 90 % of them are all 8.
  const Json& at = open_set["at_90_found"];
  EXPECT_EQ(at["threshold"].is_null(), found.size() < 8);
  ASSERT_GE(found.size(), 4u);  // else there is no point to compare
  EXPECT_NEAR(open_set["curve"][0]["threshold"].get<double>(), found[3], 1e-6);
  int64_t accepted = 0;
  for (const char* clip : {"cup/1.wav", "cup/2.wav", "tree/speaker/1.wav"}) {
    const std::vector<double> scores = Scores(Path(std::string("others/") + clip));
    accepted += std::max(scores[0], scores[1]) >= found[3] ? 1 : 0;
  }
  EXPECT_NEAR(open_set["curve"][0]["folder_accepted"].get<double>(),
              static_cast<double>(accepted) / 3, 1e-9);
  ExpectError("bisparse-evaluate", flags + "--strict", 3, "others/tree/broken.wav");
  fs::create_directories(Path("empty"));
  const std::string data = "model.bisparse --data test --unknown ";
  ExpectError("bisparse-evaluate", data + "empty", 3, "empty: holds no folder with recordings");
  ExpectError("bisparse-evaluate", data + "absent", 3, "absent: not a folder");
  fs::remove_all(Path("others/tree"));
  fs::remove_all(Path("others/cup"));
  ExpectError("bisparse-evaluate", data + "others", 3, "holds no recording of another word");
  ExpectError("bisparse-evaluate", data + "others --noise", 2, "--unknown");
}

}  // namespace
}  // namespace bisparse
