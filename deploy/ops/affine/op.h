// SPDX-License-Identifier: Apache-2.0
// affine: y = scale·x + shift, for each channel.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_AFFINE_OP_H_
#define BISPARSE_DEPLOY_OPS_AFFINE_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kAffineOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_AFFINE_OP_H_
