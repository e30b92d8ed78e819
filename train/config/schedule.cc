// SPDX-License-Identifier: Apache-2.0
// What changes over a training: winners, boosting, learning rate. Pure functions of the
// configuration and of where the training is, so that resuming needs no state. Read first:
// config.h. Tested in: schedule_test.cc.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "train/config/config.h"

namespace bisparse::train {
namespace {

// Falls from `from` at x = 0 to `to` at x = 1 along half a cosine.
double CosineFall(double from, double to, double x) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::clamp(x, 0.0, 1.0)));
}

}  // namespace

int32_t WinnersAt(const KwtaConfig& kwta, double progress) {
  const int32_t last = kwta.rule.winners;
  if (kwta.winners_start <= last || progress >= kwta.anneal_until) return last;
  const double left = 1.0 - std::max(progress, 0.0) / kwta.anneal_until;
  // In steps of one winner per group.
  const int32_t groups = kwta.rule.groups;
  const int32_t extra = (kwta.winners_start - last) / groups;
  return last + groups * static_cast<int32_t>(std::lround(extra * left));
}

double BoostAt(const BoostConfig& boost, int32_t epoch, int32_t epochs) {
  const double left = 1.0 - static_cast<double>(epoch) / epochs / boost.until;
  return boost.strength * std::pow(boost.decay, epoch) * std::max(0.0, left);
}

double NoiseAt(const KwtaNoiseConfig& noise, int32_t epoch, int32_t epochs) {
  return noise.strength * std::max(0.0, 1.0 - static_cast<double>(epoch) / epochs / noise.until);
}

double LeakAt(const KwtaConfig& kwta, double progress) {
  return kwta.leak * std::max(0.0, 1.0 - progress / kwta.anneal_until);
}

int32_t KeptAt(const OwnerLearning& learning, int32_t set_size, double progress) {
  if (progress >= learning.anneal_until) return 1;
  const double left = 1.0 - std::max(progress, 0.0) / learning.anneal_until;
  return static_cast<int32_t>(std::lround(std::pow(set_size, left)));
}

double LearningRateAt(const TrainConfig& train, int64_t step, int64_t steps_per_epoch) {
  const ScheduleConfig& schedule = train.schedule;
  const double peak = train.learning_rate;
  const double epoch = static_cast<double>(step) / static_cast<double>(steps_per_epoch);
  if (schedule.kind == ScheduleKind::kOneCycle) {
    const double progress = epoch / train.epochs;
    const double first = peak / schedule.start_divisor;
    if (progress < schedule.rise_frac)
      return CosineFall(first, peak, progress / schedule.rise_frac);
    return CosineFall(peak, first / schedule.final_divisor,
                      (progress - schedule.rise_frac) / (1.0 - schedule.rise_frac));
  }
  const double warmup = schedule.warmup_epochs;
  if (epoch < warmup) {
    // The first step moves already: (step + 1) of the warm-up's steps.
    return peak * std::min(1.0, static_cast<double>(step + 1) /
                                    (warmup * static_cast<double>(steps_per_epoch)));
  }
  switch (schedule.kind) {
    case ScheduleKind::kCosine:
      return CosineFall(peak, peak * schedule.final_factor,
                        (epoch - warmup) / std::max(train.epochs - warmup, 1e-9));
    case ScheduleKind::kStep:
      return peak * std::pow(schedule.step_factor, std::floor(epoch / schedule.step_epochs));
    case ScheduleKind::kConstant:
    case ScheduleKind::kOneCycle:
      break;
  }
  return peak;
}

}  // namespace bisparse::train
