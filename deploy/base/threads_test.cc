// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/threads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <fstream>

namespace bisparse {
namespace {

TEST(StartThreads, StartsAsManyAsAsked) {
  std::atomic<int> ran{0};
  std::vector<std::jthread> threads;
  StartThreads(threads, 5, [&] { ++ran; });
  EXPECT_EQ(threads.size(), 5u);
  threads.clear();
  EXPECT_EQ(ran, 5);
  StartThreads(threads, 0, [&] { ++ran; });
  EXPECT_TRUE(threads.empty());
}

/// Ends the process with the number of threads that start where `room` bytes are left for their stacks, 100 for none.
[[noreturn]] void StartInRoom(int64_t room) {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const auto bytes = static_cast<rlim_t>(pages * 4096 + room);
  const struct rlimit limit = {bytes, bytes};
  std::atomic<bool> stop{false};
  std::vector<std::jthread> threads;
  threads.reserve(50);
  ::setrlimit(RLIMIT_AS, &limit);
  try {
    StartThreads(threads, 50, [&] { stop.wait(false); });
  } catch (const std::exception&) {
    std::_Exit(100);
  }
  std::_Exit(static_cast<int>(threads.size()));
}

TEST(StartThreads, TakesWhatTheSystemGives) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the whole address space";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  struct rlimit stack;
  ASSERT_EQ(::getrlimit(RLIMIT_STACK, &stack), 0);
  if (stack.rlim_cur == RLIM_INFINITY) GTEST_SKIP() << "stacks without a limit";
  const auto room = static_cast<int64_t>(stack.rlim_cur) * 5 + (1 << 20);
  const auto some = [](int status) {
    return WIFEXITED(status) && WEXITSTATUS(status) >= 1 && WEXITSTATUS(status) <= 5;
  };
  EXPECT_EXIT(StartInRoom(room), some, "");
  EXPECT_EXIT(StartInRoom(1 << 16), testing::ExitedWithCode(100), "");
}

}  // namespace
}  // namespace bisparse
