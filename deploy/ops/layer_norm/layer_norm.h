// SPDX-License-Identifier: Apache-2.0
// Layer normalisation of each position q of a map:
//
//   LayerNormF32  y[q][c] = gain_c[c] · (x[q][c] − mean) / √(variance + epsilon) + bias_c[c]           y may be x
//   LayerNormU8   the same of steps, in every bit the definition of int8 (op.h)                        y may be x
//
// Everything is in double, so that x of 10^4 ± 1 loses nothing. f32 rounds to float once, as its definition does, and adds
// doubles in another order. With σ = √(variance + epsilon) and m the largest |x| the sums' errors move the mean by at most
// 2^-52 · C · m, and 1/σ by 2^-52 · C / σ. No (x − mean) / σ is above √C. So both differ by at most
//
//   2^-23 · |y| + 2^-50 · C · (√C + m / σ) · (|gain| + |bias|)
//
// Bound: two sums whose additions wait for one another, then some ten (u8: twenty) operations on each vector of doubles; a root
// and divisions for each position.
// Tested in: layer_norm_test.cc. Reference: Operator::run_f32, Operator::run_i8.
#ifndef BISPARSE_DEPLOY_OPS_LAYER_NORM_LAYER_NORM_H_
#define BISPARSE_DEPLOY_OPS_LAYER_NORM_LAYER_NORM_H_

#include <cstdint>

namespace bisparse::kernels {

struct LayerNormArgs {
  int64_t channels = 0;
  const float* gain_c = nullptr;
  const float* bias_c = nullptr;
  double epsilon = 0;       ///< u8: packed::EpsilonInSteps
  double steps_of_one = 1;  ///< u8: 1 / output_scale
  int32_t zero = 0;         ///< u8: of the output
};

void LayerNormF32(const LayerNormArgs& args, const float* x_qc, int64_t positions,
                  float* y_qc) noexcept;
void LayerNormU8(const LayerNormArgs& args, const uint8_t* x_qc, int64_t positions,
                 uint8_t* y_qc) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LAYER_NORM_LAYER_NORM_H_
