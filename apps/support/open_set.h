// SPDX-License-Identifier: Apache-2.0
// How well a model keeps other words away from its own.
//
// What is found and accepted: data/open_set.h. All clips count alike, whatever their word.
// Tested in: tests/programs/open_set_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_OPEN_SET_H_
#define BISPARSE_APPS_SUPPORT_OPEN_SET_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "data/open_set.h"

namespace bisparse::apps {

using data::WordScore;
using data::WordScoreOf;

/// Clips of other words by word, none of which the model was taught as a word of its own.
struct UnknownFolder {
  struct Word {
    std::string name;
    std::vector<WordScore> clips;
  };
  std::vector<Word> words;           ///< by name
  std::vector<std::string> skipped;  ///< recordings that could not be read, and why
  std::vector<std::string> warnings;
};
/// Recordings FOLDER/WORD/…, each cut or padded to a clip as the model's front end says. Folders that are named as a
/// word of the model are left out, with a warning. Throws Error (kData) where nothing is left; with `strict` at the
/// first recording that cannot be read.
UnknownFolder ScoreUnknownFolder(const Engine& engine, const std::string& folder, bool strict);

/// At one threshold; fractions.
struct OpenSetPoint {
  double threshold = 0, words_found = 0;
  std::optional<double> unknown_accepted;  ///< where there are clips of `_unknown_`
  std::optional<double> folder_accepted;   ///< where there is an UnknownFolder
};

struct OpenSet {
  /// At threshold 0, by the model's answer: its class is the word; it is no word.
  double words_found = 0;
  std::optional<double> unknown_rejected;
  /// The highest threshold at which 90 % of the words' clips are found; none where that takes less than 0.
  std::optional<OpenSetPoint> at_90_found;
  /// The highest thresholds at which 50, 51, … 99 % are found, as far as that goes.
  std::vector<OpenSetPoint> curve;

  struct FolderWord {
    std::string name;
    int64_t clips = 0;
    std::optional<double> accepted;  ///< at at_90_found
    std::string taken_for;  ///< the word that most of those accepted are taken for; or empty
  };
  std::vector<FolderWord> folder_words;
  int64_t folder_clips = 0, folder_skipped = 0;
  std::optional<double> folder_accepted_by_word;  ///< mean over the words, at at_90_found
};

/// `labels`, `answers`: of each clip, its class and the model's answer. Empty where there are no scores, no
/// clip of a word, or nothing to keep away: neither clips of `_unknown_` nor a folder.
std::optional<OpenSet> OpenSetOf(const std::vector<std::string>& names,
                                 std::span<const int32_t> labels, std::span<const int32_t> answers,
                                 std::span<const WordScore> scores, const UnknownFolder* folder);

std::string FormatOpenSet(const OpenSet& open_set);
/// Keys: docs/json.md, "bisparse-evaluate --json", `open_set`.
nlohmann::ordered_json OpenSetJson(const OpenSet& open_set);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_OPEN_SET_H_
