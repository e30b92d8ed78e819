// SPDX-License-Identifier: Apache-2.0
// Read first: parallel.h. Tested in: fork_test.cc.
#include "deploy/engine/parallel.h"

#include <pthread.h>

#include <atomic>
#include <new>

#include "deploy/base/check.h"

namespace bisparse {
namespace {

std::atomic<bool> threads_started{false}, threads_lost{false};

/// The child's side of fork().
void InChild() {
  if (threads_started.load(std::memory_order_relaxed))
    threads_lost.store(true, std::memory_order_relaxed);
}

}  // namespace

bool ThreadsWereLostToFork() { return threads_lost.load(std::memory_order_relaxed); }

Parallel::Parallel(int threads) : threads_(threads) {
  BISPARSE_CHECK(!ThreadsWereLostToFork());
  // A library that is unloaded takes its handler along.
  static const int registered = ::pthread_atfork(nullptr, nullptr, InChild);
  if (registered != 0) throw std::bad_alloc();
  threads_started.store(true, std::memory_order_relaxed);
  arena_ = std::make_unique<tbb::task_arena>(threads);
}

Parallel::~Parallel() {
  // The arena belongs to threads that this process does not have; asking it to end could wait for them.
  if (ThreadsWereLostToFork()) static_cast<void>(arena_.release());
}

void Parallel::CheckProcess(const char* function) const {
  if (!ThreadsWereLostToFork()) return;
  Fail(ErrorKind::kConfiguration, function,
       "the engine has {} threads, which fork() did not bring into this process (hint: load the "
       "engine in the child, or "
       "with threads = 1)",
       threads_);
}

}  // namespace bisparse
