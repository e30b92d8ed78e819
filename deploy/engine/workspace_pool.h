// SPDX-License-Identifier: Apache-2.0
// Workspaces that concurrent callers borrow: made at load as far as the engine's own threads go, then one for each caller
// more. As many as there are cores are kept for the next run, since no more can run at once; 300 callers of a moment do
// not hold 300 workspaces for ever. Read first: deploy/base/loan_pool.h. Tested in: allocation_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_
#define BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_

#include <algorithm>
#include <memory>

#include "deploy/base/cores.h"
#include "deploy/base/loan_pool.h"
#include "deploy/engine/execute.h"
#include "deploy/engine/plan.h"

namespace bisparse {

class WorkspacePool {
 public:
  /// `count` are made at once. `plan` must outlive the pool and stay where it is.
  WorkspacePool(const Plan& plan, int count)
      : plan_(plan), pool_(static_cast<size_t>(std::max(count, UsableCores()))) {
    for (int i = 0; i < count; ++i) pool_.Keep(std::make_unique<Workspace>(plan));
  }

  class Loan : public LoanPool<Workspace>::Loan {
   public:
    explicit Loan(WorkspacePool& pool)
        : LoanPool<Workspace>::Loan(pool.pool_,
                                    [&pool] { return std::make_unique<Workspace>(pool.plan_); }) {}
  };

 private:
  const Plan& plan_;
  LoanPool<Workspace> pool_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_WORKSPACE_POOL_H_
