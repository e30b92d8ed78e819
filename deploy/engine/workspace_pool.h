// SPDX-License-Identifier: Apache-2.0
// Workspaces that concurrent callers borrow: as many as there are threads at once, made at load as
// far as the engine's own threads go, kept for the next run. Taking one is a lock and a pop, once a
// block of samples. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_
#define BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "deploy/engine/execute.h"
#include "deploy/engine/plan.h"

namespace bisparse {

class WorkspacePool {
 public:
  /// `plan` must outlive the pool and stay where it is.
  WorkspacePool(const Plan& plan, int count) : plan_(plan) {
    for (int i = 0; i < count; ++i) free_.push_back(std::make_unique<Workspace>(plan));
  }

  class Loan {
   public:
    explicit Loan(WorkspacePool& pool) : pool_(pool), workspace_(pool.Take()) {}
    ~Loan() { pool_.Return(std::move(workspace_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Workspace& operator*() { return *workspace_; }
    Workspace* operator->() { return workspace_.get(); }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  std::unique_ptr<Workspace> Take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(free_.back());
        free_.pop_back();
        return workspace;
      }
      // Room for its return, so that giving back cannot throw.
      ++lent_past_stock_;
      free_.reserve(free_.capacity() + lent_past_stock_);
    }
    return std::make_unique<Workspace>(plan_);
  }
  void Return(std::unique_ptr<Workspace> workspace) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(workspace));
  }

  const Plan& plan_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
  size_t lent_past_stock_ = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_
