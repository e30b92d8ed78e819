// SPDX-License-Identifier: Apache-2.0
// What add, multiply and concat share: shapes that repeat, checks of their shifts, work, and loops of the references.
// Read first: NumberFormat in deploy/packed/model.h. Tested in: deploy/ops/operator_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_JOIN_H_
#define BISPARSE_DEPLOY_OPS_SHARED_JOIN_H_

#include <cstddef>
#include <cstdint>

#include "deploy/ops/operator.h"

namespace bisparse::packed {

// Of int8: 64 inputs of 255·2^12, 2^21 to round and 128·2^22 together fit 32 bits.
inline constexpr int32_t kMaxInputShift = 12;
inline constexpr int32_t kMaxOutputShift = 22;

/// Every input has the channels of the first, and its height or 1, and its width or 1.
void CheckRepeats(const LayerCheck& check);
/// No weights, biases, owners, shift_o, scale_o.
void CheckNoParameters(const LayerCheck& check);
/// int8: output_scale is `scale` as a float; output_zero.
void CheckOutputSteps(const LayerCheck& check, double scale);
/// Of add and concat, in f32 or int8: no parameters, and in int8 for one common scale
///   scale of input i = common·2^input_shift[i],  output_scale = common·2^output_shift,  exactly.
void CheckJoin(const LayerCheck& check);
/// Of add and multiply: every element of the output reads one of each input.
Size WorkOfJoin(const Layer& layer);

/// Calls visit(element, y, x, c) for each element of a map.
template <class Visit>
void ForEachElement(const Shape& shape, const Visit& visit) {
  size_t element = 0;
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      for (int64_t c = 0; c < shape.channels; ++c) visit(element++, y, x, c);
    }
  }
}

/// A map of height 1 or width 1 is the same at every y or x.
template <class T>
T Repeated(const Map<T>& map, int64_t y, int64_t x, int64_t c) {
  return map.x[map.Index(map.shape.height == 1 ? 0 : y, map.shape.width == 1 ? 0 : x, c)];
}

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_SHARED_JOIN_H_
