// SPDX-License-Identifier: Apache-2.0
// A network straight from its definitions: scalar, sums in double, each layer's output rounded to
// float; no kernel, no plan. For tests of the engine. Read first: deploy/packed/model.h.
// Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_REFERENCE_H_
#define BISPARSE_DEPLOY_ENGINE_REFERENCE_H_

#include <span>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse {

struct ReferenceRun {
  std::vector<std::vector<float>> layer_output;  ///< of every layer, channels last
  /// The largest bias + Σ|x·w| of any sum. Where all numbers are multiples of u and this stays
  /// below 2^24·u, float sums are exact in every order, and an engine must give the same numbers.
  double largest_magnitude = 0;
};

ReferenceRun RunReference(const packed::Model& model, std::span<const float> features);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_REFERENCE_H_
