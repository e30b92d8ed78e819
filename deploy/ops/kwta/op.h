// SPDX-License-Identifier: Apache-2.0
// kwta: the largest units survive (Kwta in deploy/packed/model.h).
// Read first: deploy/ops/operator.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_KWTA_OP_H_
#define BISPARSE_DEPLOY_OPS_KWTA_OP_H_

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kKwtaOperator;

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_KWTA_OP_H_
