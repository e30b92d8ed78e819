// SPDX-License-Identifier: Apache-2.0
// flatten: a map as one row of channels. No number moves, since maps are channels last.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_FLATTEN_OP_H_
#define BISPARSE_DEPLOY_OPS_FLATTEN_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kFlattenOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_FLATTEN_OP_H_
