// SPDX-License-Identifier: Apache-2.0
// Tests the table of samples on counts made by hand.
#include "data/sample_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Counted : public Dataset {
 public:
  explicit Counted(std::vector<std::string> classes) : classes_(std::move(classes)) {}
  Shape shape() const override { return {1, 1, 1}; }
  const std::vector<std::string>& class_names() const override { return classes_; }
  int64_t size(Split split) const override {
    return std::ssize(labels[static_cast<size_t>(split)]);
  }
  int32_t Label(Split split, int64_t index) const override {
    return labels[static_cast<size_t>(split)][static_cast<size_t>(index)];
  }
  void Features(Split, int64_t, uint64_t, std::span<float>) const override {}
  std::string Describe(Split, int64_t, uint64_t) const override { return ""; }
  SampleCounts& counts_to_fill() { return counts_; }
  void AddRemarks() {
    warnings_ = {"the test is hard"};
    skipped_ = {{"a.wav", "a.wav: holds no samples"}};
  }

  std::array<std::vector<int32_t>, 4> labels;

 private:
  std::vector<std::string> classes_;
};

TEST(SampleTable, HasAColumnForWhatThereIs) {
  Counted dataset({"yes", "_silence_"});
  EXPECT_EQ(SampleTable(dataset), "");
  SampleCounts& counts = dataset.counts_to_fill();
  counts.of_split[0] = {{.used = 1200, .broken = 2, .longer = 7}, {.used = 3}};
  counts.of_split[1] = {{.used = 40, .shorter = 1}, {.used = 4}};
  EXPECT_EQ(SampleTable(dataset),
            "samples    train  broken  longer  validation  shorter\n"
            "yes         1200       2       7          40        1\n"
            "_silence_      3       0       0           4        0\n"
            "all         1203       2       7          44        1\n");
  counts.of_split[0].clear();
  counts.passed_over = {28, 0};
  counts.notes = {"passed over in set: 28 .m4a"};
  dataset.AddRemarks();
  EXPECT_EQ(DatasetReport(dataset),
            "samples    validation  shorter  passed over\n"
            "yes                40        1           28\n"
            "_silence_           4        0            0\n"
            "all                44        1           28\n"
            "passed over in set: 28 .m4a\n"
            "warning: the test is hard\n"
            "skipped: a.wav: holds no samples\n");
}

TEST(SampleTable, CountsLabelsWhereNothingElseIsKnown) {
  Counted dataset({"0", "1"});
  dataset.labels[0] = {1, 0, 1};
  dataset.labels[2] = {0};
  EXPECT_EQ(SampleTable(dataset),
            "samples  train   test\n"
            "0            1      1\n"
            "1            2      0\n"
            "all          3      1\n");
}

TEST(ClassWarnings, NameWhatCannotBeLearned) {
  Counted dataset({"yes", "no", "_silence_"});
  EXPECT_THAT(ClassWarnings(dataset, Split::kTrain), ElementsAre("the train split is empty"));
  dataset.labels[0] = {0, 1, 2, 0};
  EXPECT_THAT(ClassWarnings(dataset, Split::kTrain), IsEmpty());
  dataset.labels[0] = {1, 1};
  EXPECT_THAT(ClassWarnings(dataset, Split::kTrain),
              ElementsAre("the train split has no clip of the class 'yes'",
                          "the train split has no clip of the class '_silence_'",
                          "all samples of the train split are of one class, 'no'"));
  dataset.labels[0] = {0, 0, 1, 2};
  dataset.counts_to_fill().of_split[0] = {{.used = 2, .silent = 2}, {.used = 1}, {.silent = 1}};
  EXPECT_THAT(ClassWarnings(dataset, Split::kTrain),
              ElementsAre("all clips of the class 'yes' in the train split are silent"));
}

}  // namespace
}  // namespace bisparse::data
