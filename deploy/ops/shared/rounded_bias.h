// SPDX-License-Identifier: Apache-2.0
// Read first: NumberFormat in deploy/packed/model.h. Tested in: deploy/engine/engine_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_ROUNDED_BIAS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_ROUNDED_BIAS_H_

#include <cstddef>
#include <cstdint>

#include "deploy/packed/model.h"

namespace bisparse::ops {

/// The bias of output o with the rounding term and the step that means 0 in the output, so that clamp(acc >> shift, 0, 255)
/// is the output; of logits the bias alone. ValidateModel has seen that it fits.
inline int32_t RoundedBias(const packed::Layer& layer, size_t o) {
  const int32_t bias = layer.bias_i32_o[o];
  if (layer.shift_o.empty()) return bias;
  const int32_t shift = layer.shift_o[o];
  return bias + (shift > 0 ? 1 << (shift - 1) : 0) + (layer.output_zero << shift);
}

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_ROUNDED_BIAS_H_
