// SPDX-License-Identifier: Apache-2.0
// LoanPool<T>: objects that concurrent callers borrow and give back. At most `kept` of them wait for the next caller, a
// returned one beyond that is freed. There is no lock: giving back cannot fail, and a process that is forked while
// another thread borrows goes on in the child without what was lent. Tested in: loan_pool_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_LOAN_POOL_H_
#define BISPARSE_DEPLOY_BASE_LOAN_POOL_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace bisparse {

template <class T>
class LoanPool {
 public:
  explicit LoanPool(size_t kept) : slots_(kept) {}
  LoanPool(const LoanPool&) = delete;
  LoanPool& operator=(const LoanPool&) = delete;
  ~LoanPool() {
    for (std::atomic<T*>& slot : slots_) delete slot.load(std::memory_order_acquire);
  }

  class Loan {
   public:
    /// One that waits, else what make() gives: a std::unique_ptr<T>. Whatever make() throws leaves the pool as it was.
    template <class Make>
    Loan(LoanPool& pool, const Make& make) : pool_(pool), object_(pool.TakeKept()) {
      if (object_ == nullptr) object_ = make();
    }
    ~Loan() { pool_.Keep(std::move(object_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    T& operator*() { return *object_; }
    T* operator->() { return object_.get(); }

   private:
    LoanPool& pool_;
    std::unique_ptr<T> object_;
  };

  /// Freed where `kept` of them wait already.
  void Keep(std::unique_ptr<T> object) noexcept {
    for (std::atomic<T*>& slot : slots_) {
      T* empty = nullptr;
      if (slot.load(std::memory_order_relaxed) == nullptr &&
          slot.compare_exchange_strong(empty, object.get(), std::memory_order_release,
                                       std::memory_order_relaxed)) {
        static_cast<void>(object.release());
        return;
      }
    }
  }

 private:
  std::unique_ptr<T> TakeKept() noexcept {
    for (std::atomic<T*>& slot : slots_) {
      if (slot.load(std::memory_order_relaxed) == nullptr) continue;
      if (T* object = slot.exchange(nullptr, std::memory_order_acquire))
        return std::unique_ptr<T>(object);
    }
    return nullptr;
  }

  std::vector<std::atomic<T*>> slots_;  // null: empty
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_LOAN_POOL_H_
