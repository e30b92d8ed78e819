// SPDX-License-Identifier: Apache-2.0
// Read first: normalise.h. Tested in: loop_test.cc.
#include "train/loop/normalise.h"

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace bisparse::train {
namespace {

/// Mean over samples and places of f(channel, value).
std::vector<double> Means(const data::Dataset& dataset,
                          const std::function<double(size_t, double)>& f) {
  const auto channels = static_cast<size_t>(dataset.shape().channels);
  const int64_t samples = dataset.size(data::Split::kTrain);
  std::vector<double> mean_c(channels);
  std::vector<float> x(static_cast<size_t>(dataset.shape().elements()));
  for (int64_t n = 0; n < samples; ++n) {
    dataset.PlainFeatures(data::Split::kTrain, n, x);
    for (size_t i = 0; i < x.size(); ++i) mean_c[i % channels] += f(i % channels, x[i]);
  }
  const double count = static_cast<double>(samples) * static_cast<double>(x.size() / channels);
  for (double& mean : mean_c) mean /= count;
  return mean_c;
}

}  // namespace

Affine ColumnNormalisation(const data::Dataset& dataset) {
  const std::vector<double> mean_c = Means(dataset, [](size_t, double x) { return x; });
  const std::vector<double> variance_c =
      Means(dataset, [&](size_t c, double x) { return (x - mean_c[c]) * (x - mean_c[c]); });
  Affine affine;
  for (size_t c = 0; c < mean_c.size(); ++c) {
    const double deviation = std::sqrt(variance_c[c]);
    // What rounding makes of a constant is no deviation, nor is what has no finite inverse.
    const double least = std::max(std::abs(mean_c[c]) * std::numeric_limits<float>::epsilon(),
                                  double{std::numeric_limits<float>::min()} * 8);
    const double scale = deviation > least ? 1.0 / deviation : 0.0;
    affine.scale_c.push_back(static_cast<float>(scale));
    affine.shift_c.push_back(static_cast<float>(-mean_c[c] * scale));
  }
  return affine;
}

}  // namespace bisparse::train
