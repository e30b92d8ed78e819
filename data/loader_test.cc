// SPDX-License-Identifier: Apache-2.0
// Tests the loader: the same bytes for any number of workers and any start, errors, and stopping.
#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <thread>

#include "bisparse/error.h"

namespace bisparse::data {
namespace {

/// Features that tell (index, epoch); one index may throw. Some samples take longer than others.
class Numbers : public Dataset {
 public:
  explicit Numbers(int64_t count, int64_t broken = -1) : count_(count), broken_(broken) {}
  Shape shape() const override { return {1, 2, 1}; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int64_t size(Split) const override { return count_; }
  int32_t Label(Split, int64_t index) const override { return static_cast<int32_t>(index % 3); }
  void Features(Split, int64_t index, uint64_t epoch, std::span<float> out) const override {
    ++computed;
    if (index % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (index == broken_) throw std::runtime_error("sample " + std::to_string(index));
    out[0] = static_cast<float>(index);
    out[1] = static_cast<float>(epoch);
  }
  std::string Describe(Split, int64_t index, uint64_t) const override {
    return std::to_string(index);
  }
  mutable std::atomic<int64_t> computed = 0;

 private:
  int64_t count_, broken_;
  std::vector<std::string> names_ = {"a", "b", "c"};
};

struct Pass {
  std::vector<float> x;
  std::vector<int64_t> y, index, count, batch;
  bool operator==(const Pass&) const = default;
};

Pass ReadPass(const Dataset& dataset, const LoaderOptions& options, uint64_t epoch,
              int64_t first = 0) {
  Pass pass;
  Loader loader(dataset, Split::kTrain, options, epoch, first);
  for (Batch batch; loader.Next(batch);) {
    pass.x.insert(pass.x.end(), batch.x_bhwc.begin(), batch.x_bhwc.end());
    pass.y.insert(pass.y.end(), batch.y_b.begin(), batch.y_b.end());
    pass.index.insert(pass.index.end(), batch.index_b.begin(), batch.index_b.end());
    pass.count.push_back(batch.count);
    pass.batch.push_back(batch.batch_index);
  }
  return pass;
}

TEST(EpochOrder, IsAPermutationThatDependsOnSeedAndEpoch) {
  const std::vector<int64_t> order = EpochOrder(100, 1, 0, true);
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 100u);
  EXPECT_EQ(*std::max_element(order.begin(), order.end()), 99);
  EXPECT_EQ(order, EpochOrder(100, 1, 0, true));
  EXPECT_NE(order, EpochOrder(100, 1, 1, true));
  EXPECT_NE(order, EpochOrder(100, 2, 0, true));
  EXPECT_EQ(EpochOrder(3, 1, 0, false), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(EpochOrder(0, 1, 0, true).empty());
}

TEST(Loader, GivesEachSampleOnceWithItsLabelAndEpoch) {
  const Numbers dataset(50);
  const Pass pass = ReadPass(dataset, {.batch = 8, .workers = 2, .shuffle = true}, 5);
  EXPECT_EQ(pass.count, (std::vector<int64_t>{8, 8, 8, 8, 8, 8, 2}));
  EXPECT_EQ(pass.index, EpochOrder(50, 1, 5, true));
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(pass.x[2 * i], static_cast<float>(pass.index[i]));
    EXPECT_EQ(pass.x[2 * i + 1], 5.0f);
    EXPECT_EQ(pass.y[i], pass.index[i] % 3);
  }
}

TEST(Loader, TheNumberOfWorkersChangesNothing) {
  const Numbers dataset(203);
  LoaderOptions options{.batch = 10, .workers = 0, .queue = 2, .seed = 9, .shuffle = true};
  const Pass expected = ReadPass(dataset, options, 3);
  for (int workers : {1, 2, 4, 9}) {
    options.workers = workers;
    EXPECT_EQ(ReadPass(dataset, options, 3), expected) << workers << " workers";
  }
}

TEST(Loader, StartsAtAnyBatch) {
  const Numbers dataset(95);
  for (int workers : {0, 3}) {
    const LoaderOptions options{.batch = 10, .workers = workers, .queue = 4, .shuffle = true};
    const Pass whole = ReadPass(dataset, options, 1);
    for (int64_t first : {1, 7, 9}) {
      const Pass rest = ReadPass(dataset, options, 1, first);
      ASSERT_EQ(std::ssize(rest.batch), 10 - first);
      EXPECT_EQ(rest.batch.front(), first);
      EXPECT_TRUE(std::equal(rest.index.begin(), rest.index.end(), whole.index.begin() + 10 * first,
                             whole.index.end()));
      EXPECT_TRUE(
          std::equal(rest.x.begin(), rest.x.end(), whole.x.begin() + 20 * first, whole.x.end()));
    }
    EXPECT_TRUE(ReadPass(dataset, options, 1, 10).batch.empty());
    EXPECT_TRUE(ReadPass(dataset, options, 1, 99).batch.empty());
  }
}

TEST(Loader, LeavesOutAnIncompleteBatchWhenAsked) {
  const Numbers dataset(25);
  const LoaderOptions options{.batch = 10, .drop_last = true};
  EXPECT_EQ(ReadPass(dataset, options, 0).count, (std::vector<int64_t>{10, 10}));
  EXPECT_EQ(ReadPass(Numbers(0), options, 0).count, (std::vector<int64_t>{}));
  EXPECT_EQ(Loader(dataset, Split::kTrain, options, 0).batch_count(), 2);
  EXPECT_EQ(Loader(dataset, Split::kTrain, {.batch = 10}, 0).batch_count(), 3);
}

TEST(Loader, RethrowsInOrderWhatAWorkerThrew) {
  const Numbers dataset(100, /*broken=*/55);
  for (int workers : {0, 1, 4}) {
    Loader loader(dataset, Split::kTrain, {.batch = 10, .workers = workers}, 0);
    Batch batch;
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(loader.Next(batch));
    try {
      loader.Next(batch);
      FAIL() << "no error with " << workers << " workers";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "sample 55");
    }
  }
}

TEST(Loader, StopsInMidEpochAndComputesNoMoreThanTheQueue) {
  const Numbers dataset(10000);
  {
    Loader loader(dataset, Split::kTrain, {.batch = 10, .workers = 3, .queue = 4}, 0);
    Batch batch;
    ASSERT_TRUE(loader.Next(batch));
    // One batch is out and four are waiting; however slow the machine is, they come, and no more do.
    while (dataset.computed < 50) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(dataset.computed, 50);
  }
  EXPECT_LE(dataset.computed, 50);
}

TEST(Loader, RefusesImpossibleOptions) {
  const Numbers dataset(10);
  EXPECT_THROW(Loader(dataset, Split::kTrain, {.batch = 0}, 0), Error);
  EXPECT_THROW(Loader(dataset, Split::kTrain, {.workers = -1}, 0), Error);
  EXPECT_THROW(Loader(dataset, Split::kTrain, {.queue = 0}, 0), Error);
  EXPECT_THROW(Loader(dataset, Split::kTrain, {}, 0, -1), Error);
}

}  // namespace
}  // namespace bisparse::data
