// SPDX-License-Identifier: Apache-2.0
// Smooth functions of each element by itself: sigmoid, hard_swish, gelu. A new one is an enumerator of LayerKind, a row of
// the table in op.cc, a case in activation_f32.cc.
//
//   f32   y = f(x), computed in double and rounded
//   int8  y = table[q]: whoever writes the model chooses the output's scale and zero and tabulates f (ActivationTable)
//
// Read first: deploy/ops/operator.h. Tested in: activation_f32_test.cc, deploy/packed/model_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_ACTIVATION_OP_H_
#define BISPARSE_DEPLOY_OPS_ACTIVATION_OP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "deploy/ops/operator.h"

namespace bisparse::packed {

struct Activation {
  LayerKind kind;
  const char* name;
  double (*f)(double);
  double slope;       ///< |f(a) − f(b)| is at most slope · |a − b|
  double lowest = 0;  ///< f is never below
};

std::span<const Activation> Activations();

/// Null for other kinds.
const Activation* FindActivation(LayerKind kind);

/// Of each activation, in the order of the table.
std::span<const Operator> ActivationOperators();

/// int8: what each step q of the input becomes,
///   clamp(rint(f(input.scale · (q − input.zero)) / output.scale) + output.zero, 0, 255), in double. Scales are above 0.
std::vector<uint8_t> ActivationTable(const Activation& activation, const Quantisation& input,
                                     const Quantisation& output);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_ACTIVATION_OP_H_
