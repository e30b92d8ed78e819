// SPDX-License-Identifier: Apache-2.0
// Samples from the thread of a sound device to the one that listens, without locks: one writer, one reader. A writer that
// finds no room leaves samples out and counts them, since a device does not wait.
// Tested in: tests/programs/microphone_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_SAMPLE_RING_H_
#define BISPARSE_APPS_SUPPORT_SAMPLE_RING_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bisparse::apps {

class SampleRing {
 public:
  explicit SampleRing(size_t capacity) : samples_(capacity) {}

  /// The writer's. Samples that find no room are lost.
  void Write(std::span<const int16_t> samples) noexcept {
    const uint64_t end = written_.load(std::memory_order_relaxed);
    const size_t room = samples_.size() - (end - read_.load(std::memory_order_acquire));
    const size_t count = std::min(room, samples.size());
    for (size_t i = 0; i < count; ++i) samples_[(end + i) % samples_.size()] = samples[i];
    written_.store(end + count, std::memory_order_release);
    if (count == samples.size()) return;
    lost_samples_.fetch_add(static_cast<int64_t>(samples.size() - count),
                            std::memory_order_relaxed);
    CountOverrun();
  }
  /// The writer's: sound was lost before it came here.
  void CountOverrun() noexcept { overruns_.fetch_add(1, std::memory_order_relaxed); }

  /// The reader's: the oldest samples, as many as there are and fit.
  size_t Read(std::span<int16_t> samples) noexcept {
    const uint64_t begin = read_.load(std::memory_order_relaxed);
    const uint64_t there = written_.load(std::memory_order_acquire) - begin;
    const size_t count = std::min<size_t>(there, samples.size());
    for (size_t i = 0; i < count; ++i) samples[i] = samples_[(begin + i) % samples_.size()];
    read_.store(begin + count, std::memory_order_release);
    return count;
  }

  int64_t lost_samples() const noexcept { return lost_samples_.load(std::memory_order_relaxed); }
  /// How often sound was lost.
  int64_t overruns() const noexcept { return overruns_.load(std::memory_order_relaxed); }

 private:
  std::vector<int16_t> samples_;
  std::atomic<uint64_t> written_{0}, read_{0};  ///< since the beginning
  std::atomic<int64_t> lost_samples_{0}, overruns_{0};
};

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_SAMPLE_RING_H_
