// SPDX-License-Identifier: Apache-2.0
// Read first: operator.h. A new operator is a row here.
#include "deploy/ops/operator.h"

#include "deploy/base/check.h"
#include "deploy/ops/add/op.h"
#include "deploy/ops/affine/op.h"
#include "deploy/ops/concat/op.h"
#include "deploy/ops/conv/op.h"
#include "deploy/ops/flatten/op.h"
#include "deploy/ops/kwta/op.h"
#include "deploy/ops/linear/op.h"
#include "deploy/ops/multiply/op.h"
#include "deploy/ops/pool/op.h"
#include "deploy/ops/relu/op.h"

namespace bisparse::packed {
namespace {

constexpr const Operator* kOperators[] = {
    &kConv2dOperator,    &kLinearOperator, &kAffineOperator,   &kMaxPoolOperator,
    &kAvgPoolOperator,   &kReluOperator,   &kKwtaOperator,     &kFlattenOperator,
    &kDepthwiseOperator, &kAddOperator,    &kMultiplyOperator, &kConcatOperator,
};
static_assert(std::size(kOperators) == static_cast<size_t>(kLastLayerKind) + 1);

}  // namespace

std::span<const Operator* const> Operators() { return kOperators; }

const Operator& OperatorOf(LayerKind kind) {
  BISPARSE_CHECK(kind <= kLastLayerKind);
  return *kOperators[static_cast<size_t>(kind)];
}

}  // namespace bisparse::packed
