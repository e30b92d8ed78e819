// SPDX-License-Identifier: Apache-2.0
// Read first: operator.h. A new operator is a row here.
#include "deploy/ops/operator.h"

#include <algorithm>
#include <array>

#include "deploy/base/check.h"
#include "deploy/ops/activation/op.h"
#include "deploy/ops/add/op.h"
#include "deploy/ops/affine/op.h"
#include "deploy/ops/concat/op.h"
#include "deploy/ops/conv/op.h"
#include "deploy/ops/flatten/op.h"
#include "deploy/ops/kwta/op.h"
#include "deploy/ops/layer_norm/op.h"
#include "deploy/ops/linear/op.h"
#include "deploy/ops/multiply/op.h"
#include "deploy/ops/pool/op.h"
#include "deploy/ops/relu/op.h"

namespace bisparse::packed {
namespace {

/// Besides the activations, which have a table of their own.
constexpr const Operator* kOperators[] = {
    &kConv2dOperator,    &kLinearOperator, &kAffineOperator,   &kMaxPoolOperator,
    &kAvgPoolOperator,   &kReluOperator,   &kKwtaOperator,     &kFlattenOperator,
    &kDepthwiseOperator, &kAddOperator,    &kMultiplyOperator, &kConcatOperator,
    &kLayerNormOperator,
};

using Table = std::array<const Operator*, static_cast<size_t>(kLastLayerKind) + 1>;

Table ByKind() {
  Table table{};
  for (const Operator* op : kOperators) table[static_cast<size_t>(op->kind)] = op;
  for (const Operator& op : ActivationOperators()) table[static_cast<size_t>(op.kind)] = &op;
  BISPARSE_CHECK(std::count(table.begin(), table.end(), nullptr) == 0);
  return table;
}

}  // namespace

std::span<const Operator* const> Operators() {
  static const Table table = ByKind();
  return table;
}

const Operator& OperatorOf(LayerKind kind) {
  BISPARSE_CHECK(kind <= kLastLayerKind);
  return *Operators()[static_cast<size_t>(kind)];
}

}  // namespace bisparse::packed
