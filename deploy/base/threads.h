// SPDX-License-Identifier: Apache-2.0
// Threads that share one piece of work. Tested in: threads_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_THREADS_H_
#define BISPARSE_DEPLOY_BASE_THREADS_H_

#include <cstdint>
#include <thread>
#include <vector>

namespace bisparse {

/// Starts up to `count` threads, each of which runs a copy of `work` until nothing is left to do. Where the system gives
/// fewer (a limit on processes or memory), those do the work of all. Throws where it gives none.
template <typename Work>
void StartThreads(std::vector<std::jthread>& threads, int64_t count, const Work& work) {
  try {
    for (int64_t i = 0; i < count; ++i) threads.emplace_back(work);
  } catch (...) {  // std::system_error, or std::bad_alloc
    if (threads.empty()) throw;
  }
}

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_THREADS_H_
