// SPDX-License-Identifier: Apache-2.0
// A network straight from its definitions: scalar; no kernel, no plan. f32: sums in double, each
// layer's output rounded to float. int8: sums in int64, exact. For tests of the engine, and what an
// int8 model is checked against before it is written. Read first: deploy/packed/model.h.
// Tested in: deploy/engine/engine_test.cc, reference_test.cc.
#ifndef BISPARSE_DEPLOY_REFERENCE_REFERENCE_H_
#define BISPARSE_DEPLOY_REFERENCE_REFERENCE_H_

#include <cstdint>
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

struct ReferenceRunI8 {
  std::vector<int32_t> input;  ///< the features as u8
  /// Of every layer, channels last: u8, from the last layer with weights on its sums.
  std::vector<std::vector<int32_t>> layer_output;
  std::vector<float> logits;
};

/// An int8 model (valid, see packed::ValidateModel) on one sample: every engine must give these
/// bits.
ReferenceRunI8 RunReferenceI8(const packed::Model& model, std::span<const float> features);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_REFERENCE_REFERENCE_H_
