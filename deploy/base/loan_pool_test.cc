// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/loan_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <optional>
#include <thread>

namespace bisparse {
namespace {

/// Counts those that exist, and notices two borrowers of one.
struct Counted {
  explicit Counted(std::atomic<int>& the_alive) : alive(the_alive) { ++alive; }
  ~Counted() { --alive; }
  std::atomic<int>& alive;
  std::atomic<bool> lent{false};
};
using Pool = LoanPool<Counted>;

TEST(LoanPool, LendsWhatWasGivenBack) {
  std::atomic<int> alive{0};
  {
    Pool pool(2);
    const auto make = [&] { return std::make_unique<Counted>(alive); };
    Counted* first = nullptr;
    {
      Pool::Loan loan(pool, make);
      first = &*loan;
    }
    EXPECT_EQ(alive, 1);
    Pool::Loan again(pool, make);
    EXPECT_EQ(&*again, first);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(LoanPool, KeepsNoMoreThanItsBound) {
  std::atomic<int> alive{0};
  for (const size_t kept : {size_t{0}, size_t{1}, size_t{3}}) {
    Pool pool(kept);
    {
      std::vector<std::unique_ptr<Pool::Loan>> loans;
      for (int i = 0; i < 300; ++i) {
        loans.push_back(
            std::make_unique<Pool::Loan>(pool, [&] { return std::make_unique<Counted>(alive); }));
      }
      EXPECT_EQ(alive, 300);
    }
    EXPECT_EQ(alive, static_cast<int>(kept));
  }
  EXPECT_EQ(alive, 0);
}

TEST(LoanPool, IsUnchangedWhereNoneCanBeMade) {
  std::atomic<int> alive{0};
  Pool pool(1);
  const auto fail = []() -> std::unique_ptr<Counted> { throw std::bad_alloc(); };
  EXPECT_THROW(Pool::Loan(pool, fail), std::bad_alloc);
  pool.Keep(std::make_unique<Counted>(alive));
  Pool::Loan kept(pool, fail);
  EXPECT_THROW(Pool::Loan(pool, fail), std::bad_alloc);
  EXPECT_EQ(alive, 1);
}

TEST(LoanPool, LendsNoneToTwo) {
  std::atomic<int> alive{0}, twice{0};
  Pool pool(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        Pool::Loan loan(pool, [&] { return std::make_unique<Counted>(alive); });
        if (loan->lent.exchange(true)) ++twice;
        if (i % 50 == 0) std::this_thread::yield();
        loan->lent = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(twice, 0);
  EXPECT_LE(alive, 3);
}

}  // namespace
}  // namespace bisparse
