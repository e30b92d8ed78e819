// SPDX-License-Identifier: Apache-2.0
#ifndef BISPARSE_SHAPE_H_
#define BISPARSE_SHAPE_H_

#include "bisparse/version.h"  // first: says what is needed where the compiler would not

#include <cstdint>

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

/// A map of activations, channels last: element (y, x, c) is at (y·width + x)·channels + c.
struct Shape {
  int32_t height = 0, width = 0, channels = 0;
  int64_t elements() const { return int64_t{height} * width * channels; }
  bool operator==(const Shape&) const = default;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_SHAPE_H_
