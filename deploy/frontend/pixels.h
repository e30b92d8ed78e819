// SPDX-License-Identifier: Apache-2.0
// Picture → features, for training and the engine alike, in two steps:
//   FitPixels:   any size → height × width × channels of the input, bytes; whole numbers, the same bits on every CPU
//   PixelScale:  bytes → features, feature = (byte / 255 − mean_c) / deviation_c
// Between them training keeps pictures and changes them.
// Read first: picture_input.h. Tested in: pixels_test.cc.
#ifndef BISPARSE_DEPLOY_FRONTEND_PIXELS_H_
#define BISPARSE_DEPLOY_FRONTEND_PIXELS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "bisparse/pixels.h"
#include "bisparse/shape.h"
#include "deploy/frontend/picture_input.h"

namespace bisparse {

/// Limits of a picture that is read or run. At the second one its bytes take 400 MB.
inline constexpr int32_t kMaxPictureSide = 65535;
inline constexpr int64_t kMaxPicturePixels = int64_t{1} << 27;

/// "height = 0, allowed are 1 to 65535"; empty if nothing is wrong with sizes, channels and the number of bytes.
std::string PixelsFault(const Pixels& picture);

/// "mean_c has 2 values, the input has 3 channels"; empty if nothing is wrong. The input has 1 or 3 channels.
std::string PictureInputFault(const PictureInput& input, const Shape& shape);

/// Brings a picture to shape.height × shape.width × shape.channels bytes, channels still red, green, blue.
/// - fit says which part of it is taken; an odd column or row more is cut off at the right or bottom.
/// - Each output pixel is a weighted mean of the pixels under a triangle, whose half width is one pixel of the smaller of
///   the two pictures: Σ w(j)·p(j) with w(j) ~ max(0, 1 − |j + ½ − (i + ½)·scale| / max(1, scale)), along the rows, then along
///   the columns, rounded to nearest. At the edge the weights that are left are scaled to a sum of 1.
/// - A picture of equal size is copied.
/// - Grey becomes three equal channels; colour becomes grey by (299 R + 587 G + 114 B) / 1000 (ITU-R BT.601), at the end.
/// Requires PixelsFault(picture).empty() and PictureInputFault.
void FitPixels(const Pixels& picture, PictureFit fit, const Shape& shape,
               std::span<uint8_t> bytes_hwc);

/// The features of each of the 256 bytes of each channel.
class PixelScale {
 public:
  /// Requires a right PictureInput of 1 or 3 channels.
  explicit PixelScale(const PictureInput& input);

  /// bytes_hwc: red, green, blue, or grey. features_hwc: as many, channels in the input's order.
  void Compute(std::span<const uint8_t> bytes_hwc, std::span<float> features_hwc) const;

 private:
  int32_t channels_;
  std::array<int32_t, 3> source_c_;  // which byte of a pixel is channel c
  std::array<std::array<float, 256>, 3> feature_cv_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_PIXELS_H_
