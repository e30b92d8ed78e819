// SPDX-License-Identifier: Apache-2.0
// linear: a sum over all of its input for each output. Weights: deploy/packed/layout.h.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_OP_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kLinearOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_OP_H_
