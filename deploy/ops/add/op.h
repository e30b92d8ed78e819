// SPDX-License-Identifier: Apache-2.0
// add: y = x0 + x1 + …, from left to right. Inputs of height or width 1 are repeated over the first's.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_ADD_OP_H_
#define BISPARSE_DEPLOY_OPS_ADD_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kAddOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_ADD_OP_H_
