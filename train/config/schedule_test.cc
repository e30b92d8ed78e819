// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "train/config/config.h"

namespace bisparse::train {
namespace {

TEST(Schedule, WinnersFallInWholeGroups) {
  KwtaConfig kwta;
  kwta.rule.winners = 8;
  kwta.rule.groups = 8;
  EXPECT_EQ(WinnersAt(kwta, 0.0), 8);
  kwta.winners_start = 32;
  kwta.anneal_until = 0.5;
  EXPECT_EQ(WinnersAt(kwta, 0.0), 32);
  EXPECT_EQ(WinnersAt(kwta, 0.5), 8);
  EXPECT_EQ(WinnersAt(kwta, 1.0), 8);
  int32_t last = 32;
  for (int step = 0; step <= 100; ++step) {
    const int32_t winners = WinnersAt(kwta, step / 100.0);
    EXPECT_EQ(winners % 8, 0) << step;
    EXPECT_LE(winners, last) << step;
    EXPECT_GE(winners, 8) << step;
    last = winners;
  }
}

TEST(Schedule, BoostReachesExactlyZero) {
  const BoostConfig boost{.strength = 1.5, .period_samples = 1000, .decay = 0.9, .until = 0.5};
  EXPECT_EQ(BoostAt(boost, 0, 10), 1.5);
  EXPECT_NEAR(BoostAt(boost, 1, 10), 1.5 * 0.9 * 0.8, 1e-12);
  EXPECT_EQ(BoostAt(boost, 5, 10), 0.0);
  EXPECT_EQ(BoostAt(boost, 9, 10), 0.0);
}

TEST(Schedule, LearningRates) {
  TrainConfig train;
  train.epochs = 10;
  train.learning_rate = 1.0;
  train.schedule.kind = ScheduleKind::kConstant;
  train.schedule.warmup_epochs = 1.0;
  EXPECT_NEAR(LearningRateAt(train, 0, 100), 0.01, 1e-12);
  EXPECT_NEAR(LearningRateAt(train, 49, 100), 0.5, 1e-12);
  EXPECT_EQ(LearningRateAt(train, 500, 100), 1.0);

  train.schedule.kind = ScheduleKind::kCosine;
  train.schedule.warmup_epochs = 0.0;
  train.schedule.final_factor = 0.1;
  EXPECT_EQ(LearningRateAt(train, 0, 100), 1.0);
  EXPECT_NEAR(LearningRateAt(train, 500, 100), 0.55, 1e-12);
  EXPECT_NEAR(LearningRateAt(train, 1000, 100), 0.1, 1e-12);

  train.schedule.kind = ScheduleKind::kOneCycle;
  train.schedule.rise_frac = 0.3;
  EXPECT_NEAR(LearningRateAt(train, 0, 100), 1.0 / 25, 1e-12);
  EXPECT_NEAR(LearningRateAt(train, 300, 100), 1.0, 1e-12);
  EXPECT_NEAR(LearningRateAt(train, 1000, 100), 1.0 / 25 / 1e4, 1e-12);

  train.schedule.kind = ScheduleKind::kStep;
  train.schedule.step_factor = 0.5;
  train.schedule.step_epochs = 3;
  EXPECT_EQ(LearningRateAt(train, 299, 100), 1.0);
  EXPECT_EQ(LearningRateAt(train, 300, 100), 0.5);
  EXPECT_EQ(LearningRateAt(train, 999, 100), 0.125);
}

TEST(Schedule, KeptKernelsFallGeometricallyToOne) {
  const OwnerLearning learning{.anneal_until = 0.5};
  EXPECT_EQ(KeptAt(learning, 16, 0.0), 16);
  EXPECT_EQ(KeptAt(learning, 16, 0.125), 8);
  EXPECT_EQ(KeptAt(learning, 16, 0.25), 4);
  EXPECT_EQ(KeptAt(learning, 16, 0.499), 1);
  EXPECT_EQ(KeptAt(learning, 16, 0.5), 1);
  EXPECT_EQ(KeptAt({.anneal_until = 0.0}, 16, 0.0), 1);
}

TEST(Schedule, LeakFallsLinearlyToZero) {
  KwtaConfig kwta;
  kwta.leak = 0.4;
  kwta.anneal_until = 0.5;
  EXPECT_DOUBLE_EQ(LeakAt(kwta, 0.0), 0.4);
  EXPECT_DOUBLE_EQ(LeakAt(kwta, 0.25), 0.2);
  EXPECT_EQ(LeakAt(kwta, 0.75), 0.0);
}

TEST(Schedule, RankingNoiseFallsLinearlyToZero) {
  const KwtaNoiseConfig noise{.strength = 0.6, .until = 0.5};
  EXPECT_DOUBLE_EQ(NoiseAt(noise, 0, 40), 0.6);
  EXPECT_DOUBLE_EQ(NoiseAt(noise, 10, 40), 0.3);
  EXPECT_EQ(NoiseAt(noise, 20, 40), 0.0);
  EXPECT_EQ(NoiseAt(noise, 39, 40), 0.0);
}

}  // namespace
}  // namespace bisparse::train
