// SPDX-License-Identifier: Apache-2.0
// What a child of fork() may do with its parent's engines and with its own. A program of its own: forks are before and
// after the first threads here, not after those of other tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "deploy/engine/engine_access.h"
#include "deploy/engine/parallel.h"
#include "deploy/packed/example_model.h"

#if defined(__SANITIZE_ADDRESS__)
/// A child cannot end its parent's arena, whose threads it does not have: it leaves it, on purpose.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() {
  return "leak:bisparse::Parallel::Parallel";
}
#endif

namespace bisparse {
namespace {

constexpr int kHangs_s = 60;

/// What a forked child leaves behind: 0 where `passes` is true there, 1 where it is false, 2 where it throws, or minus
/// the signal that ended it (14 for one that hangs).
int InChild(const std::function<bool()>& passes) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kHangs_s);
    int code = 2;
    try {
      code = passes() ? 0 : 1;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kConfiguration ? error.what() : "of another kind";
  }
  return "none";
}

struct Samples {
  explicit Samples(const Engine& engine)
      : x(static_cast<size_t>(kBatch * engine.input_shape().elements()), 0.5f),
        y(static_cast<size_t>(kBatch * engine.output_count())) {}
  static constexpr int64_t kBatch = 40;
  std::vector<float> x, y;
};

// In this order: the process has no threads at first.
TEST(Fork, AChildMakesThreadsWhereItsParentHadNone) {
  EXPECT_EQ(InChild([] {
              Parallel parallel(2);
              parallel.CheckProcess("test");
              std::atomic<int64_t> sum{0};
              parallel.For(100, 1, [&](int64_t begin, int64_t end, int) {
                for (int64_t i = begin; i < end; ++i) sum += i;
              });
              return sum == 4950 && !ThreadsWereLostToFork();
            }),
            0);
}

TEST(Fork, AnEngineOfOneThreadGoesOnWorkingThoughOthersAreInside) {
  const packed::Model model = packed::MakeExampleModel(1);
  const Engine engine = EngineAccess::FromModel(model);
  Samples expected(engine);
  engine.RunBatch(expected.x, Samples::kBatch, expected.y);
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int caller = 0; caller < 3; ++caller) {
    busy.emplace_back([&] {
      Samples own(engine);
      while (!stop) engine.RunBatch(own.x, Samples::kBatch, own.y);
    });
  }
  for (int fork = 0; fork < 20; ++fork) {
    EXPECT_EQ(InChild([&] {
                Samples ours(engine);
                engine.RunBatch(ours.x, Samples::kBatch, ours.y);
                return ours.y == expected.y;
              }),
              0);
  }
  stop = true;
  for (std::thread& caller : busy) caller.join();
}

TEST(Fork, AnEngineOfThreadsSaysThatTheyAreLost) {
  const packed::Model model = packed::MakeExampleModel(1);
  Engine engine = EngineAccess::FromModel(model, {.threads = 2});
  Samples expected(engine);
  engine.RunBatch(expected.x, Samples::kBatch, expected.y);
  Parallel parallel(2);  // whatever the machine has
  parallel.CheckProcess("test");
  const size_t inputs = expected.x.size() / Samples::kBatch,
               outputs = expected.y.size() / Samples::kBatch;
  const bool threads = engine.options().threads > 1;
  EXPECT_EQ(
      InChild([&] {
        const std::string lost = ErrorOf([&] { parallel.CheckProcess("test"); });
        EXPECT_THAT(lost,
                    testing::HasSubstr("the engine has 2 threads, which fork() did not bring"));
        Samples ours(engine);
        const auto wants = [&](const std::string& error) {
          EXPECT_THAT(error, threads ? testing::HasSubstr("fork()") : testing::HasSubstr("none"));
        };
        wants(ErrorOf([&] { engine.RunBatch(ours.x, Samples::kBatch, ours.y); }));
        wants(ErrorOf([&] { engine.Run({ours.x.data(), inputs}, {ours.y.data(), outputs}); }));
        return ThreadsWereLostToFork() && !testing::Test::HasFailure();
      }),
      0);
  // An ordinary end: destructors of what was forked, and of static objects.
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kHangs_s);
    { const Engine ended = std::move(engine); }
    std::exit(0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  Samples again(engine);
  engine.RunBatch(again.x, Samples::kBatch, again.y);
  EXPECT_EQ(again.y, expected.y);
}

TEST(Fork, AChildsOwnEngineHasOneThreadWhereItsParentHadSome) {
  const packed::Model model = packed::MakeExampleModel(1);
  const Engine parents = EngineAccess::FromModel(model, {.threads = 2});
  const Parallel parallel(2);
  Samples expected(parents);
  parents.RunBatch(expected.x, Samples::kBatch, expected.y);
  EXPECT_EQ(InChild([&] {
              const Engine engine = EngineAccess::FromModel(model, {.threads = 2});
              Samples ours(engine);
              engine.RunBatch(ours.x, Samples::kBatch, ours.y);
              return engine.options().threads == 1 && ours.y == expected.y;
            }),
            0);
}

}  // namespace
}  // namespace bisparse
