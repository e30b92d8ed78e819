// SPDX-License-Identifier: Apache-2.0
// f32 model + samples → int8 model: scales of the input and of every map from what the samples make
// of them, weights and biases rounded. No LibTorch.
//
//   input   x ≈ input_scale·(q − input_zero), after the affine that the network may begin with
//   map     y ≈ output_scale·(q − output_zero); output_zero is 128 where values below 0 are read
//   weight  W[o][p] ≈ step[o]·w[o][p],  step[o] = output_scale·2^−shift[o] / scale of its input,
//           the largest shift with |w| ≤ 64; in the last layer step[o] = max |W[o]| / 64
//   bias    in units of step[o]·scale of its input, less what the zero of its input adds
// The floats of an affine and of a layer_norm stay as they are.
//
// A value that an add, concat or multiply reads or gives has a power of two as scale, so that shifts bring them together.
//
// A scale is the one of least squared error over the samples: finer steps round less and clip more.
// Of a map only the values count that survive ReLU or k-WTA. On trained networks that matters
// little (the largest value / 255 instead: 4 % more error of the logits with k-WTA, none with
// ReLU), and neither looking at the weights' steps in the choice nor correcting biases for the mean
// of the weights' rounding gained anything that showed in accuracy. What remains with k-WTA is the
// format's own: rounding moves which unit wins where two are close, and another winner has other
// weights. Read first: deploy/packed/model.h (NumberFormat). Tested in: quantise_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_QUANTISE_H_
#define BISPARSE_TRAIN_EXPORT_QUANTISE_H_

#include <span>

#include "deploy/packed/model.h"

namespace bisparse::train {

/// calibration_bi: at least one sample, back to back, as the network sees them when deployed.
/// Throws Error (kConfiguration) naming the layer where int8 cannot hold the network: a batch_norm
/// that neither folds nor is the first layer, anything but flatten after the logits, sums that leave 32 bits.
packed::Model QuantiseModel(const packed::Model& f32, std::span<const float> calibration_bi);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_QUANTISE_H_
