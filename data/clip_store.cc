// SPDX-License-Identifier: Apache-2.0
// Parallel decoding of recordings.
// Read first: clip_store.h. Tested in: speech_commands_test.cc.
#include "data/clip_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "bisparse/error.h"
#include "data/audio.h"
#include "deploy/base/cores.h"
#include "deploy/base/threads.h"
#include "deploy/frontend/log_mel.h"

namespace bisparse::data {
namespace {

void DecodeClip(const FrontEnd& front_end, Clip& to) {
  const Audio audio = ReadAudio(to.path, front_end.sample_rate_hz);
  const std::vector<int16_t> pcm = ToPcm16(audio.samples);
  to.peak = audio.peak;
  to.only_channel = audio.only_channel;
  to.length = std::ssize(pcm);
  to.silent = std::all_of(pcm.begin(), pcm.end(), [](int16_t x) { return x >= -1 && x <= 1; });
  const int64_t clip = front_end.clip_samples;
  int64_t begin = 0, end = to.length;
  if (!to.whole && to.length > 2 * clip + 1) {
    // An even number is cut away, so that the front end's own cut of the rest lands where that of
    // the whole would.
    const int64_t kept = 2 * clip + (to.length & 1);
    begin = ClipStart(front_end.align, to.length, kept);
    end = begin + kept;
  }
  to.pcm.assign(pcm.begin() + begin, pcm.begin() + end);
}

}  // namespace

ClipStore DecodeClips(const std::vector<std::string>& paths, const std::vector<bool>& whole,
                      const FrontEnd& front_end, bool strict, const OpenOptions& options) {
  const int64_t count = std::ssize(paths);
  ClipStore store;
  store.clips.resize(count);
  std::vector<std::string> reasons(count);
  std::atomic<int64_t> next = 0, done = 0;
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::condition_variable idle;
  int64_t failed_at = count;
  std::exception_ptr failure;

  const auto fail = [&](int64_t index) {
    const std::lock_guard lock(mutex);
    if (index < failed_at) {
      failed_at = index;
      failure = std::current_exception();
    }
    stop = true;
  };
  // Indices are taken in order, so when one fails all smaller ones are at work and will be
  // finished: the failure that is reported is always that of the first broken recording.
  const auto work = [&] {
    while (!stop) {
      const int64_t index = next++;
      if (index >= count) break;
      store.clips[index].path = paths[index];
      store.clips[index].whole = whole[static_cast<size_t>(index)];
      try {
        DecodeClip(front_end, store.clips[index]);
      } catch (const Error& error) {
        reasons[index] = error.what();
        if (strict) fail(index);
      } catch (...) {
        fail(index);
      }
      ++done;
    }
    const std::lock_guard lock(mutex);
    idle.notify_one();
  };
  const int cores = UsableCores();
  const auto worker_count = std::min<int64_t>(options.workers > 0 ? options.workers : cores, count);
  std::vector<std::jthread> workers;
  StartThreads(workers, worker_count, work);
  while (!stop && done < count) {
    if (options.progress) options.progress(done, count);
    std::unique_lock lock(mutex);
    idle.wait_for(lock, std::chrono::milliseconds(100));
  }
  workers.clear();
  if (failure) std::rethrow_exception(failure);
  if (options.progress && count > 0) options.progress(count, count);
  for (int64_t index = 0; index < count; ++index) {
    if (!reasons[index].empty()) store.skipped.push_back({paths[index], reasons[index]});
  }
  return store;
}

std::span<const float> FloatsOf(const std::vector<int16_t>& pcm) {
  static thread_local std::vector<float> samples;
  ToFloats(pcm, samples);
  return samples;
}

}  // namespace bisparse::data
