// SPDX-License-Identifier: Apache-2.0
// Read first: fft_plan.h.
#include "deploy/frontend/fft_plan.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bisparse {
namespace {

/// Appends exp(−2πi · turns).
void AppendRoot(double turns, std::vector<float>& values) {
  const double angle = 2.0 * std::numbers::pi * turns;
  values.push_back(static_cast<float>(std::cos(angle)));
  values.push_back(static_cast<float>(-std::sin(angle)));
}

FftStage MakeStage(int32_t radix, int32_t points) {
  FftStage stage{.radix = radix, .points = points};
  const double length = static_cast<double>(radix) * points;
  for (int64_t j = 0; j < points; ++j) {
    for (int64_t q = 1; q < radix; ++q) {
      AppendRoot(static_cast<double>(j * q) / length, stage.twiddles);
    }
  }
  for (int32_t q = 0; radix % 2 != 0 && q < radix; ++q) {
    const double angle = 2.0 * std::numbers::pi * q / radix;
    stage.roots.push_back(static_cast<float>(std::cos(angle)));
    stage.roots.push_back(static_cast<float>(std::sin(angle)));
  }
  return stage;
}

int32_t NextRadix(int32_t points) {
  if (points % 4 == 0) return 4;
  if (points % 2 == 0) return 2;
  int32_t radix = 3;
  while (radix * radix <= points && points % radix != 0) radix += 2;
  return points % radix == 0 ? radix : points;
}

}  // namespace

FftPlan::FftPlan(int32_t the_samples) : samples(the_samples), points(the_samples / 2) {
  for (int32_t left = points; left > 1;) {
    const int32_t radix = NextRadix(left);
    left /= radix;
    stages.push_back(MakeStage(radix, left));
    if (radix % 2 != 0) largest_odd_radix = std::max(largest_odd_radix, radix);
  }
  // Stage by stage: of what a stage joins, transform q has every radix-th point from q on.
  for (int32_t h = 0; h < points; ++h) {
    int32_t place = 0, rest = h;
    for (const FftStage& stage : stages) {
      place += rest % stage.radix * stage.points;
      rest /= stage.radix;
    }
    place_h.push_back(place);
  }
  for (int32_t k = 0; k <= points / 2; ++k) AppendRoot(static_cast<double>(k) / samples, untwist);
}

}  // namespace bisparse
