// SPDX-License-Identifier: Apache-2.0
// Networks of random layers for tests of the engine: sizes that do not divide, padding, strides,
// every form of packing and k-WTA. Read first: deploy/packed/model.h. Used by: deploy/engine/engine_test.cc,
// reference_test.cc.
#ifndef BISPARSE_DEPLOY_REFERENCE_RANDOM_MODEL_H_
#define BISPARSE_DEPLOY_REFERENCE_RANDOM_MODEL_H_

#include <cstdint>

#include "deploy/packed/model.h"

namespace bisparse {

struct RandomModelOptions {
  /// Weights −1, 0, 1 and small whole numbers elsewhere (averages of 2 or 4 only): sums are exact.
  bool exact = true;
  /// int8: many convolutions of the shapes and owners that conv_quads_i8 is made for.
  bool quads = true;
  /// Values with several readers, joined by add, multiply and concat; int8 maps that hold values below 0.
  bool graphs = false;
  /// Activations and layer_norm, in int8 and where sums need not be exact.
  bool smooth = true;
  /// Of graphs: layers read any value before them, through windows of any size.
  bool tangled = false;
};

/// The same network for the same seed and options; it owns its weights (storage).
packed::Model MakeRandomModel(uint64_t seed, const RandomModelOptions& options = {});

/// An int8 network of the same kinds of layers, as far as int8 allows them: small, extreme and few
/// weights, every shift, any zero of the input; shifts and biases such that most maps have zeros,
/// values between and values at 255, for features of about unit variance.
packed::Model MakeRandomI8Model(uint64_t seed, const RandomModelOptions& options = {});

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_REFERENCE_RANDOM_MODEL_H_
