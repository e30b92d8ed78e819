// SPDX-License-Identifier: Apache-2.0
// concat: the channels of all inputs, the first's first.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONCAT_OP_H_
#define BISPARSE_DEPLOY_OPS_CONCAT_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kConcatOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_CONCAT_OP_H_
