// SPDX-License-Identifier: Apache-2.0
// Seeds of random tests. A test that fails prints the seed that it was at; with the environment variable
// BISPARSE_TEST_SEED=N the random tests run with that seed alone:
//
//   for (const uint64_t seed : TestSeeds(300)) …     the seeds 0 … 299
//   const TestSeed seed;                             another one in each run
//
// What a test asserts of all its seeds together needs all of them: `if (TestSeedIsGiven()) return;` before it.
// Included by tests alone. Tested in: test_seed_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_TEST_SEED_H_
#define BISPARSE_DEPLOY_BASE_TEST_SEED_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>

namespace bisparse {

/// The value of BISPARSE_TEST_SEED. Ends the program where it is no whole number: a typing error would run other seeds.
inline std::optional<uint64_t> GivenTestSeed() {
  const char* text = std::getenv("BISPARSE_TEST_SEED");
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const uint64_t seed = std::strtoull(text, &end, 10);
  if (*end != '\0' || *text < '0' || *text > '9') {
    std::fprintf(stderr, "BISPARSE_TEST_SEED=%s is no whole number from 0\n", text);
    std::abort();
  }
  return seed;
}

inline bool TestSeedIsGiven() { return GivenTestSeed().has_value(); }

inline std::string TestSeedText(uint64_t seed) {
  const std::string text = std::to_string(seed);
  return "seed " + text + " (alone with BISPARSE_TEST_SEED=" + text + ")";
}

/// The seed of a test that draws another one in each run. Failures during its lifetime print it.
class TestSeed {
 public:
  TestSeed()
      : seed_(GivenTestSeed().value_or(std::random_device{}())),
        trace_(__FILE__, __LINE__, TestSeedText(seed_)) {}
  operator uint64_t() const { return seed_; }

 private:
  const uint64_t seed_;
  const testing::ScopedTrace trace_;
};

/// The seeds of a loop. Failures print the one that the loop is at.
class TestSeeds {
 public:
  /// 0 … count − 1, or the given seed alone.
  explicit TestSeeds(uint64_t count) : TestSeeds(0, count) {}
  /// first … end − 1, or the given seed alone.
  TestSeeds(uint64_t first, uint64_t end) : first_(first), end_(end) {
    if (const std::optional<uint64_t> given = GivenTestSeed()) {
      first_ = *given;
      end_ = *given + 1;
    }
  }

  class Iterator {
   public:
    Iterator(uint64_t seed, uint64_t end) : seed_(seed), end_(end) { Trace(); }
    uint64_t operator*() const { return seed_; }
    void operator++() {
      trace_.reset();
      ++seed_;
      Trace();
    }
    bool operator==(uint64_t end) const { return seed_ == end; }

   private:
    void Trace() {
      if (seed_ != end_) trace_.emplace(__FILE__, __LINE__, TestSeedText(seed_));
    }

    uint64_t seed_, end_;
    std::optional<testing::ScopedTrace> trace_;
  };
  Iterator begin() const { return {first_, end_}; }
  uint64_t end() const { return end_; }

 private:
  uint64_t first_, end_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_TEST_SEED_H_
