// SPDX-License-Identifier: Apache-2.0
// A picture in memory, as Engine::RunPixels takes it. Read first: engine.h.
#ifndef BISPARSE_PIXELS_H_
#define BISPARSE_PIXELS_H_

#include "bisparse/version.h"  // first: says what is needed where the compiler would not

#include <cstdint>
#include <span>

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

/// Rows from top to bottom, from left to right, without gaps; a pixel's channels lie side by side.
struct Pixels {
  std::span<const uint8_t> bytes_hwc = {};  ///< height × width × channels
  int32_t height = 0, width = 0;            ///< 1 … 65,535; 2^27 pixels at most
  int32_t channels = 3;                     ///< 3: red, green, blue; 1: grey
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_PIXELS_H_
