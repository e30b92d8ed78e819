// SPDX-License-Identifier: Apache-2.0
// A data set in memory for tests of the trainer: learnable, small, the same on every machine.
#ifndef BISPARSE_TRAIN_LOOP_MEMORY_DATASET_H_
#define BISPARSE_TRAIN_LOOP_MEMORY_DATASET_H_

#include <fmt/format.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "deploy/base/random.h"

namespace bisparse::train {

/// Three classes of noisy 6×6 maps, each with a bright pair of rows; noise is pure in (split,
/// epoch, index).
class MemoryDataset : public data::Dataset {
 public:
  Shape shape() const override { return {6, 6, 1}; }
  const std::vector<std::string>& class_names() const override { return names; }
  int64_t size(data::Split split) const override {
    if (split == data::Split::kHeldOut) return held_out;
    return split == data::Split::kTrain ? 90 : split == data::Split::kPerturbed ? perturbed : 30;
  }
  int32_t Label(data::Split split, int64_t index) const override {
    return split == data::Split::kHeldOut ? 2 : static_cast<int32_t>(index % 3);
  }
  void Features(data::Split split, int64_t index, uint64_t epoch,
                std::span<float> features_hwc) const override {
    if (split == data::Split::kTrain && on_train) on_train(epoch);
    CounterRandom random(5, {static_cast<uint64_t>(split), epoch, static_cast<uint64_t>(index)});
    for (float& x : features_hwc) x = random.Normal();
    for (int i = 0; i < 12; ++i)
      features_hwc[(index % 3) * 12 + i] += split == data::Split::kPerturbed ? 0.6f : 1.2f;
  }
  std::string Describe(data::Split, int64_t index, uint64_t) const override {
    return fmt::format("memory[{}]", index);
  }

  int64_t held_out = 0;  ///< samples of that split, of the last class
  std::vector<std::string> names = {"low", "middle", "high"};
  int64_t perturbed = 30;  ///< samples of that split, whose rows are fainter

  /// Called for each training sample with its epoch, to make things happen in mid-run.
  std::function<void(uint64_t epoch)> on_train;
};

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_MEMORY_DATASET_H_
