// SPDX-License-Identifier: Apache-2.0
// Augmentation of training pictures, on bytes of the input's size: flip, shift, colour, erasing. All draws come from the
// generator that the caller seeded with (seed, epoch, picture). Read first: config.h (PixelAugmentConfig). Tested in:
// augment_pixels_test.cc.
#ifndef BISPARSE_DATA_AUGMENT_PIXELS_H_
#define BISPARSE_DATA_AUGMENT_PIXELS_H_

#include <cstdint>
#include <span>

#include "bisparse/shape.h"
#include "data/config.h"
#include "deploy/base/random.h"

namespace bisparse::data {

/// In this order:
///   flip      left and right exchanged
///   crop      moved by whole pixels, uniform in ± crop_padding along each axis; black comes in
///   colour    brightness, contrast about the picture's mean grey, saturation about each pixel's grey (three channels only);
///             rounded and cut off to bytes at the end
///   erase     a rectangle, one side up to 1 / 0.3 times the other, filled with each channel's mean
/// bytes_hwc: shape.elements(), changed in place. Each change is drawn whether it is made or not, so that changing one
/// setting leaves the others' draws alone.
void AugmentPixels(const PixelAugmentConfig& config, const Shape& shape, CounterRandom& random,
                   std::span<uint8_t> bytes_hwc);

/// The generator of a picture's changes.
CounterRandom PixelRandom(uint64_t seed, uint64_t epoch, int64_t picture);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_AUGMENT_PIXELS_H_
