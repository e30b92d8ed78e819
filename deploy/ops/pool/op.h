// SPDX-License-Identifier: Apache-2.0
// max_pool and avg_pool: the largest value of a window, or the mean. Padding is left out.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_POOL_OP_H_
#define BISPARSE_DEPLOY_OPS_POOL_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kMaxPoolOperator;
extern const Operator kAvgPoolOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_POOL_OP_H_
