// SPDX-License-Identifier: Apache-2.0
// conv2d and depthwise: a convolution, by every channel or by its own. Weights: deploy/packed/layout.h.
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_OP_H_
#define BISPARSE_DEPLOY_OPS_CONV_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kConv2dOperator;
extern const Operator kDepthwiseOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_CONV_OP_H_
