// SPDX-License-Identifier: Apache-2.0
// layer_norm: at each position the C channels are brought to mean 0 and variance 1, then scaled and shifted.
//
//   y[c] = gain[c] · (x[c] − mean) / √(variance + epsilon) + bias[c]
//   mean = Σ x[c] / C,  variance = Σ (x[c] − mean)² / C
//
// gain is Layer::weight_pnl, bias is bias_o: C floats each. What is flat is one position. Equal channels give the bias.
//
//   f32   all of it in double, then rounded. A channel that is NaN or infinite makes its position NaN.
//   int8  in floating point too: integers hold no exact mean and deviation. With s the input's scale:
//           S = Σ q[c],  N = C·Σ q[c]² − S²                exact in 64 bits: C² · variance, in steps
//           r = 1 / √(N + C²·epsilon / s²)
//           x'[c] = float((C·q[c] − S) · r)
//           q'[c] = clamp(rint((x'[c]·gain[c] + bias[c]) · (1 / output_scale)), −zero, 255 − zero) + zero
//         in double, zero being output_zero, ties to even. x' is a float, so that its product is exact. No other product is
//         an addend. Fused multiply-adds therefore change nothing, and every CPU gives the same bits.
//
// Source: Ba, Kiros, Hinton, "Layer normalization" (2016). Read first: deploy/ops/operator.h. Tested in: layer_norm_test.cc,
// deploy/ops/operator_test.cc, deploy/packed/layer_norm_model_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LAYER_NORM_OP_H_
#define BISPARSE_DEPLOY_OPS_LAYER_NORM_OP_H_

#include <cmath>
#include <cstdint>

#include "deploy/ops/operator.h"

namespace bisparse::packed {

extern const Operator kLayerNormOperator;

/// int8: C²·epsilon / s².
inline double EpsilonInSteps(const Layer& layer, float input_scale) {
  const double channels = layer.input.channels, scale = input_scale;
  return channels * channels * double{layer.epsilon} / (scale * scale);
}

/// int8: r, from the sums of a position's steps and of their squares.
inline double FactorOfSteps(int64_t channels, int64_t sum, int64_t squares, double epsilon) {
  return 1.0 / std::sqrt(static_cast<double>(channels * squares - sum * sum) + epsilon);
}

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_LAYER_NORM_OP_H_
