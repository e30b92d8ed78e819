// SPDX-License-Identifier: Apache-2.0
// Features of a split that never change: computed at the first use, then copied. Thread-safe.
// Tested in: speech_commands_test.cc.
#ifndef BISPARSE_DATA_FEATURE_CACHE_H_
#define BISPARSE_DATA_FEATURE_CACHE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace bisparse::data {

class FeatureCache {
 public:
  /// `count` samples of `elements` features.
  void Resize(int64_t count, int64_t elements) {
    elements_ = elements;
    computed_ = std::make_unique<std::once_flag[]>(count);
    features_.assign(count * elements, 0.0f);
  }

  template <typename Compute>  // void(span<float>)
  void Get(int64_t index, std::span<float> features, const Compute& compute) {
    const std::span<float> kept(features_.data() + index * elements_, elements_);
    std::call_once(computed_[index], [&] { compute(kept); });
    std::copy(kept.begin(), kept.end(), features.begin());
  }

 private:
  int64_t elements_ = 0;
  std::unique_ptr<std::once_flag[]> computed_;
  std::vector<float> features_;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_FEATURE_CACHE_H_
