// SPDX-License-Identifier: Apache-2.0
// Tests the way of a picture to the input's size and to features: by hand, against the formula in doubles, and what must hold
// for every size.
#include "deploy/frontend/pixels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/random.h"

namespace bisparse {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Drawn {
  int32_t height, width, channels;
  std::vector<uint8_t> bytes;
  Pixels pixels() const { return {bytes, height, width, channels}; }
};

Drawn Draw(int32_t height, int32_t width, int32_t channels, uint64_t seed) {
  Drawn drawn{height, width, channels, {}};
  CounterRandom random(seed, {1});
  for (int64_t i = 0; i < int64_t{height} * width * channels; ++i) {
    drawn.bytes.push_back(static_cast<uint8_t>(random.Below(256)));
  }
  return drawn;
}

std::vector<uint8_t> Fit(const Pixels& picture, PictureFit fit, const Shape& shape) {
  std::vector<uint8_t> bytes(static_cast<size_t>(shape.elements()));
  FitPixels(picture, fit, shape, bytes);
  return bytes;
}

/// The formula of the header, pixel by pixel, in doubles, of a picture that is taken whole.
double Defined(const Drawn& picture, const Shape& shape, int64_t y, int64_t x, int64_t c) {
  const auto weight = [](int64_t j, int64_t i, double scale) {
    const double distance =
        std::abs(static_cast<double>(j) + 0.5 - (static_cast<double>(i) + 0.5) * scale);
    return std::max(0.0, 1.0 - distance / std::max(1.0, scale));
  };
  const double scale_y = double(picture.height) / shape.height;
  const double scale_x = double(picture.width) / shape.width;
  double sum = 0, weights = 0;
  for (int64_t j = 0; j < picture.height; ++j) {
    for (int64_t k = 0; k < picture.width; ++k) {
      const double w = weight(j, y, scale_y) * weight(k, x, scale_x);
      const int64_t at = (j * picture.width + k) * picture.channels + c;
      weights += w;
      sum += w * picture.bytes[static_cast<size_t>(at)];
    }
  }
  return sum / weights;
}

TEST(FitPixels, EqualSizeIsACopy) {
  const Drawn picture = Draw(5, 7, 3, 1);
  EXPECT_EQ(Fit(picture.pixels(), PictureFit::kCrop, {5, 7, 3}), picture.bytes);
}

TEST(FitPixels, WorkedExamples) {
  // Four to two: the triangle covers 4 pixels, of which the edge cuts one off: (3·0 + 3·100 + 1·200) / 7, mirrored.
  const std::vector<uint8_t> ramp = {0, 100, 200, 255};
  EXPECT_THAT(Fit({ramp, 1, 4, 1}, PictureFit::kStretch, {1, 2, 1}), ElementsAre(71, 209));
  // Two to four: neighbours mixed by 1/4 and 3/4.
  const std::vector<uint8_t> two = {0, 200};
  EXPECT_THAT(Fit({two, 1, 2, 1}, PictureFit::kStretch, {1, 4, 1}), ElementsAre(0, 50, 150, 200));
}

TEST(FitPixels, IsTheFormulaWithinAStep) {
  for (const auto& [height, width, out] :
       {std::tuple{9, 13, Shape{4, 5, 3}}, std::tuple{3, 4, Shape{7, 9, 3}},
        std::tuple{40, 31, Shape{1, 1, 3}}, std::tuple{1, 1, Shape{3, 2, 3}},
        std::tuple{6, 50, Shape{6, 3, 3}}}) {
    const Drawn picture = Draw(height, width, 3, static_cast<uint64_t>(height));
    const auto fitted = Fit(picture.pixels(), PictureFit::kStretch, out);
    for (int64_t y = 0, i = 0; y < out.height; ++y) {
      for (int64_t x = 0; x < out.width; ++x) {
        for (int64_t c = 0; c < 3; ++c, ++i) {
          // Half a step of the byte, and what 16-bit weights along two axes and 8 kept bits lose.
          const double bound = 0.5 + (height + width) * 255.0 / 65536 + 1.0 / 256;
          EXPECT_NEAR(fitted[static_cast<size_t>(i)], Defined(picture, out, y, x, c), bound)
              << height << "x" << width << " at " << y << ", " << x << ", " << c;
        }
      }
    }
  }
}

TEST(FitPixels, AFlatPictureStaysFlat) {
  for (int32_t size = 1; size < 70; ++size) {
    for (const uint8_t value : {uint8_t{1}, uint8_t{255}}) {
      const std::vector<uint8_t> flat(static_cast<size_t>(size) * 3, value);
      EXPECT_THAT(Fit({flat, size, 3, 1}, PictureFit::kStretch, {17, 5, 1}), testing::Each(value))
          << size;
    }
  }
}

TEST(FitPixels, LargestSidesDoNotOverflow) {
  const std::vector<uint8_t> white(static_cast<size_t>(kMaxPictureSide), 255);
  EXPECT_THAT(Fit({white, 1, kMaxPictureSide, 1}, PictureFit::kStretch, {1, 1, 1}),
              ElementsAre(255));
  EXPECT_THAT(Fit({white, kMaxPictureSide, 1, 1}, PictureFit::kCrop, {2, 2, 1}),
              ElementsAre(255, 255, 255, 255));
}

TEST(FitPixels, ACropIsTheMiddle) {
  // 2×6: the two columns of the middle; 6×2: the two rows of the middle; an odd rest is cut off at the right.
  const std::vector<uint8_t> picture = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  EXPECT_THAT(Fit({picture, 2, 6, 1}, PictureFit::kCrop, {2, 2, 1}), ElementsAre(3, 4, 9, 10));
  EXPECT_THAT(Fit({picture, 6, 2, 1}, PictureFit::kCrop, {2, 2, 1}), ElementsAre(5, 6, 7, 8));
  const std::vector<uint8_t> odd = {1, 2, 3, 4, 5, 6};
  EXPECT_THAT(Fit({odd, 2, 3, 1}, PictureFit::kCrop, {2, 2, 1}), ElementsAre(1, 2, 4, 5));
}

TEST(FitPixels, GreyAndColourBecomeEachOther) {
  const std::vector<uint8_t> grey = {7, 200}, colour = {255, 0, 0, 10, 20, 30};
  EXPECT_THAT(Fit({grey, 1, 2, 1}, PictureFit::kCrop, {1, 2, 3}),
              ElementsAre(7, 7, 7, 200, 200, 200));
  // 0.299·255 = 76.2; 2.99 + 11.74 + 3.42 = 18.15.
  EXPECT_THAT(Fit({colour, 1, 2, 3}, PictureFit::kCrop, {1, 2, 1}), ElementsAre(76, 18));
}

TEST(PixelScale, TakesMeanAndDeviationOfEachChannel) {
  const std::vector<uint8_t> bytes = {0, 51, 255};
  std::vector<float> features(3);
  PictureInput input{.mean_c = {0.0f, 0.2f, 0.5f}, .deviation_c = {1.0f, 0.1f, 0.25f}};
  PixelScale(input).Compute(bytes, features);
  EXPECT_FLOAT_EQ(features[0], 0.0f);
  EXPECT_NEAR(features[1], 0.0f, 1e-6);
  EXPECT_FLOAT_EQ(features[2], 2.0f);
  input.order = ChannelOrder::kBgr;  // channel 0 of the input is blue
  PixelScale(input).Compute(bytes, features);
  EXPECT_FLOAT_EQ(features[0], 1.0f);
  EXPECT_FLOAT_EQ(features[2], -2.0f);
}

TEST(Pixels, FaultsAreNamed) {
  const std::vector<uint8_t> bytes(12);
  EXPECT_EQ(PixelsFault({bytes, 2, 2, 3}), "");
  EXPECT_EQ(PixelsFault({bytes, 0, 2, 3}), "height = 0, allowed are 1 to 65535");
  EXPECT_EQ(PixelsFault({bytes, 2, 70000, 3}), "width = 70000, allowed are 1 to 65535");
  EXPECT_EQ(PixelsFault({bytes, 2, 2, 4}), "channels = 4, allowed are 1 and 3");
  EXPECT_EQ(PixelsFault({bytes, 2, 3, 3}), "12 bytes, 2x3x3 have 18");
  EXPECT_THAT(PixelsFault({bytes, 60000, 60000, 3}), HasSubstr("at most 134217728 are allowed"));
  PictureInput input{.mean_c = {0.5f}, .deviation_c = {0.25f}};
  EXPECT_EQ(PictureInputFault(input, {8, 8, 1}), "");
  EXPECT_EQ(PictureInputFault(input, {8, 8, 3}), "mean has 1 value, the input has 3 channels");
  EXPECT_EQ(PictureInputFault(input, {8, 8, 2}), "the input has 2 channels, pictures have 1 or 3");
  input.deviation_c[0] = 0.0f;
  EXPECT_THAT(PictureInputFault(input, {8, 8, 1}), HasSubstr("deviation of channel 0 = 0"));
  input.mean_c[0] = NAN;
  EXPECT_THAT(PictureInputFault(input, {8, 8, 1}), HasSubstr("mean of channel 0 = nan"));
}

}  // namespace
}  // namespace bisparse
