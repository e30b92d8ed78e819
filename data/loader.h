// SPDX-License-Identifier: Apache-2.0
// One pass over a split in batches: workers compute features ahead of the consumer, batches come in
// order. The order of the samples is a pure function of (seed, epoch), a sample of (seed, epoch,
// index): any number of workers, and a start in mid-epoch, gives the same bytes.
//
//   Loader loader(dataset, Split::kTrain, {.batch = 64, .workers = 2, .shuffle = true}, epoch, first_batch);
//   for (Batch batch; loader.Next(batch);) …
//
// Read first: dataset.h. Tested in: loader_test.cc.
#ifndef BISPARSE_DATA_LOADER_H_
#define BISPARSE_DATA_LOADER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

struct LoaderOptions {
  int64_t batch = 64;
  int workers = 1;    ///< 0: features are computed in Next, on the consumer's thread
  int64_t queue = 4;  ///< batches that are computed ahead
  uint64_t seed = 1;  ///< of the order of the samples
  bool shuffle = false;
  bool drop_last = false;   ///< leave out an incomplete last batch
  int rank = 0, ranks = 1;  ///< of several processes, each of which takes its share of every batch
};

struct Batch {
  std::vector<float> x_bhwc;     ///< count × shape().elements()
  std::vector<int64_t> y_b;      ///< count labels
  std::vector<int64_t> index_b;  ///< count indices into the split
  int64_t count = 0;
  int64_t joint_count = 0;  ///< of all processes together; with one of them count
  int64_t batch_index = 0;  ///< of this batch in the epoch, from 0
};

/// Batches in one pass over `size` samples.
int64_t BatchCount(int64_t size, const LoaderOptions& options);

/// The order of an epoch's samples: a permutation of [0, size), pure in (seed, epoch); the identity
/// without shuffle.
std::vector<int64_t> EpochOrder(int64_t size, uint64_t seed, uint64_t epoch, bool shuffle);

class Loader {
 public:
  /// `dataset` must outlive the loader. Starts its workers at once, at batch `first_batch`.
  Loader(const Dataset& dataset, Split split, const LoaderOptions& options, uint64_t epoch,
         int64_t first_batch = 0);
  ~Loader();  ///< stops the workers, wherever they are
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batch_count() const;
  /// Fills `batch` (its vectors are reused) and returns true; false after the last one. Rethrows
  /// what a worker threw.
  bool Next(Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_LOADER_H_
