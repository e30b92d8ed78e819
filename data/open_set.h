// SPDX-License-Identifier: Apache-2.0
// How well a network keeps other words away from its own; the one place where the rule is written.
//
//   score(clip) = max over words w of p_w,   p = softmax(logits);   its word is the w of the largest p_w
//   found(t)    = clips of words whose word is right and whose score ≥ t  ÷  clips of words
//   accepted(t) = clips of other words whose score ≥ t                    ÷  clips of other words
//
// `_unknown_` and `_silence_` are no words. Clips of `_silence_` are in neither.
// Tested in: open_set_test.cc.
#ifndef BISPARSE_DATA_OPEN_SET_H_
#define BISPARSE_DATA_OPEN_SET_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bisparse::data {

/// What a network takes a clip for, were it a word.
struct WordScore {
  size_t word = 0;   ///< index of the class
  double score = 0;  ///< its probability
};
/// Of one clip's logits. `class_names` has at least one word.
WordScore WordScoreOf(std::span<const float> logits, const std::vector<std::string>& class_names);

/// Whether the class is neither `_unknown_` nor `_silence_`.
bool IsWord(const std::string& class_name);

/// The highest threshold t with found(t) ≥ `fraction`; none where that takes less than 0. `right`: the scores of clips of
/// words whose word is right; `clips`: how many clips of words there are, at least 1.
std::optional<double> ThresholdAtFound(std::vector<double> right, int64_t clips, double fraction);

/// accepted(threshold) of the other words' scores, at least one.
double AcceptedAt(std::span<const double> scores, double threshold);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_OPEN_SET_H_
