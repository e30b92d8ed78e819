// SPDX-License-Identifier: Apache-2.0
// f32 model + samples → int8 model: scales of the input and of every map from what the samples make
// of them, weights and biases rounded. No LibTorch.
//
//   input   x ≈ input_scale·(q − input_zero)
//   map     y ≈ output_scale·q
//   weight  W[o][p] ≈ step[o]·w[o][p],  step[o] = output_scale·2^−shift[o] / scale of its input,
//           the largest shift with |w| ≤ 127; in the last layer step[o] = max |W[o]| / 127
//   bias    in units of step[o]·scale of its input, less what input_zero adds
//
// An output scale is the one of least squared error over the samples: what rounding and clipping do
// to the values that survive ReLU or k-WTA, and what rounding the weights does to the sums of these
// values. The second moves by up to a factor of 4 inside an octave, since steps go by powers of
// two: weights fill 64 … 127 of their 127 steps.
// Read first: deploy/packed/model.h (NumberFormat). Tested in: quantise_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_QUANTISE_H_
#define BISPARSE_TRAIN_EXPORT_QUANTISE_H_

#include <span>

#include "deploy/packed/model.h"

namespace bisparse::train {

/// calibration_bi: at least one sample, back to back, as the network sees them when deployed.
/// Throws Error (kConfiguration) naming the layer where int8 cannot hold the network: a batch_norm
/// that does not fold, sums without a ReLU behind them, sums that leave 32 bits.
packed::Model QuantiseModel(const packed::Model& f32, std::span<const float> calibration_bi);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_QUANTISE_H_
