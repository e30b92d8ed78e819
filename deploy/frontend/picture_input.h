// SPDX-License-Identifier: Apache-2.0
// How a picture becomes the network's input: everything that decides about it but the input's own shape. The same struct is
// filled from YAML for training, stored in the model file, and used by the engine, as FrontEnd is for recordings.
// Computed by: deploy/frontend/pixels.h.
#ifndef BISPARSE_DEPLOY_FRONTEND_PICTURE_INPUT_H_
#define BISPARSE_DEPLOY_FRONTEND_PICTURE_INPUT_H_

#include <cstdint>
#include <vector>

namespace bisparse {

/// What happens to a picture whose height and width are in another ratio than the input's.
enum class PictureFit : uint8_t {
  kCrop,     ///< the largest part of that ratio is taken from its middle
  kStretch,  ///< all of it, distorted
};

/// How a picture is brought to another size.
enum class ResizeFilter : uint8_t {
  kTriangle,  ///< antialiased: as wide as two pixels of the smaller of the two pictures
};

/// Of the network's input; a picture in memory is red, green, blue.
enum class ChannelOrder : uint8_t { kRgb, kBgr };

struct PictureInput {
  PictureFit fit = PictureFit::kCrop;
  ResizeFilter filter = ResizeFilter::kTriangle;
  ChannelOrder order = ChannelOrder::kRgb;
  /// One for each channel of the input, in its order: feature = (byte / 255 − mean) / deviation.
  std::vector<float> mean_c = {}, deviation_c = {};
  bool operator==(const PictureInput&) const = default;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_PICTURE_INPUT_H_
