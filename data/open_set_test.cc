// SPDX-License-Identifier: Apache-2.0
#include "data/open_set.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bisparse::data {
namespace {

const std::vector<std::string> kNames = {"yes", "no", "_unknown_", "_silence_"};

TEST(OpenSet, TheScoreIsTheLargestProbabilityOfAWord) {
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(5.0f),
                                     std::log(8.0f)};
  const WordScore score = WordScoreOf(logits, kNames);
  EXPECT_EQ(score.word, 1u);
  EXPECT_NEAR(score.score, 2.0 / 16.0, 1e-7);
  const std::vector<float> large = {900.0f, 0.0f, 0.0f, 0.0f};  // no overflow
  EXPECT_DOUBLE_EQ(WordScoreOf(large, kNames).score, 1.0);
}

TEST(OpenSet, TheThresholdIsTheHighestThatFindsEnough) {
  // Ten clips of words, of which one was taken for the wrong word.
  const std::vector<double> right = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1};
  EXPECT_EQ(ThresholdAtFound(right, 10, 0.9), 0.1);
  EXPECT_EQ(ThresholdAtFound(right, 10, 0.5), 0.5);
  EXPECT_EQ(ThresholdAtFound(right, 10, 0.41), 0.5);
  EXPECT_EQ(ThresholdAtFound(right, 10, 0.91), std::nullopt);
}

TEST(OpenSet, WhatReachesTheThresholdIsAccepted) {
  const std::vector<double> scores = {0.1, 0.5, 0.7, 0.9};
  EXPECT_EQ(AcceptedAt(scores, 0.5), 0.75);
  EXPECT_EQ(AcceptedAt(scores, 0.91), 0.0);
}

}  // namespace
}  // namespace bisparse::data
