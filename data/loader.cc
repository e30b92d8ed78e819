// SPDX-License-Identifier: Apache-2.0
// Workers claim whole batches in order and fill slots of a ring; the consumer takes them in order.
// Read first: loader.h. Tested in: loader_test.cc.
#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "data/augment.h"
#include "deploy/base/check.h"
#include "deploy/base/random.h"
#include "deploy/base/threads.h"

namespace bisparse::data {

int64_t BatchCount(int64_t size, const LoaderOptions& options) {
  return options.drop_last ? size / options.batch : (size + options.batch - 1) / options.batch;
}

std::vector<int64_t> EpochOrder(int64_t size, uint64_t seed, uint64_t epoch, bool shuffle) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle) return order;
  constexpr uint64_t kOrderStream = 0x6f72646572;  // "order"
  CounterRandom random(seed, {kOrderStream, epoch});
  for (int64_t i = size - 1; i > 0; --i) std::swap(order[i], order[IndexBelow(random, i + 1)]);
  return order;
}

struct Loader::Impl {
  struct Slot {
    Batch batch;
    std::exception_ptr failure;
    bool ready = false;
  };

  const Dataset& dataset;
  const Split split;
  const LoaderOptions options;
  const uint64_t epoch;
  const std::vector<int64_t> order;
  const int64_t batch_count;

  std::mutex mutex;
  std::condition_variable slot_free, slot_ready;
  std::vector<Slot> ring;
  int64_t next_claim = 0, next_delivery = 0;  // batches
  bool stopping = false;
  std::vector<std::jthread> workers;

  Impl(const Dataset& set, Split which, const LoaderOptions& how, uint64_t epoch_index)
      : dataset(set),
        split(which),
        options(how),
        epoch(epoch_index),
        order(EpochOrder(set.size(which), how.seed, epoch_index, how.shuffle)),
        batch_count(BatchCount(set.size(which), how)) {}

  void Fill(int64_t batch_index, Batch& batch) const {
    const int64_t joint_begin = batch_index * options.batch;
    batch.joint_count = std::min(options.batch, std::ssize(order) - joint_begin);
    const int64_t begin = joint_begin + batch.joint_count * options.rank / options.ranks;
    const int64_t elements = dataset.shape().elements();
    batch.batch_index = batch_index;
    batch.count = joint_begin + batch.joint_count * (options.rank + 1) / options.ranks - begin;
    batch.x_bhwc.resize(batch.count * elements);
    batch.y_b.resize(batch.count);
    batch.index_b.assign(order.begin() + begin, order.begin() + begin + batch.count);
    for (int64_t b = 0; b < batch.count; ++b) {
      batch.y_b[b] = dataset.Label(split, batch.index_b[b]);
      dataset.Features(split, batch.index_b[b], epoch,
                       std::span(batch.x_bhwc).subspan(b * elements, elements));
    }
  }

  void Work() {
    for (;;) {
      int64_t claimed;
      {
        std::unique_lock lock(mutex);
        slot_free.wait(lock, [&] {
          return stopping || next_claim >= batch_count ||
                 next_claim < next_delivery + std::ssize(ring);
        });
        if (stopping || next_claim >= batch_count) return;
        claimed = next_claim++;
      }
      Slot& slot = ring[claimed % std::ssize(ring)];  // ours until it is ready
      try {
        Fill(claimed, slot.batch);
      } catch (...) {
        slot.failure = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex);
        slot.ready = true;
      }
      slot_ready.notify_one();
    }
  }

  void Stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    slot_free.notify_all();
    workers.clear();
  }
};

Loader::Loader(const Dataset& dataset, Split split, const LoaderOptions& options, uint64_t epoch,
               int64_t first_batch) {
  if (options.batch < 1 || options.workers < 0 || options.queue < 1 || first_batch < 0) {
    Fail(ErrorKind::kConfiguration, "loader",
         "batch = {}, workers = {}, queue = {}, first batch = {}: at least 1, 0, 1 and 0 needed",
         options.batch, options.workers, options.queue, first_batch);
  }
  impl_ = std::make_unique<Impl>(dataset, split, options, epoch);
  impl_->next_claim = impl_->next_delivery = first_batch;
  if (options.workers == 0) return;
  impl_->ring.resize(std::max<int64_t>(options.queue, options.workers));
  StartThreads(impl_->workers, options.workers, [impl = impl_.get()] { impl->Work(); });
}

Loader::~Loader() { impl_->Stop(); }

int64_t Loader::batch_count() const { return impl_->batch_count; }

bool Loader::Next(Batch& batch) {
  Impl& impl = *impl_;
  if (impl.next_delivery >= impl.batch_count) return false;
  if (impl.workers.empty()) {
    impl.Fill(impl.next_delivery++, batch);
    return true;
  }
  std::exception_ptr failure;
  {
    std::unique_lock lock(impl.mutex);
    Impl::Slot& slot = impl.ring[impl.next_delivery % std::ssize(impl.ring)];
    impl.slot_ready.wait(lock, [&] { return slot.ready; });
    std::swap(batch, slot.batch);  // the consumer's old vectors are filled next
    failure = std::exchange(slot.failure, nullptr);
    slot.ready = false;
    ++impl.next_delivery;
  }
  impl.slot_free.notify_one();
  if (failure) std::rethrow_exception(failure);
  return true;
}

}  // namespace bisparse::data
