// SPDX-License-Identifier: Apache-2.0
// Tests each change to a picture by itself.
#include "data/augment_pixels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;

constexpr Shape kShape{4, 5, 3};

std::vector<uint8_t> Ramp(const Shape& shape = kShape) {
  std::vector<uint8_t> bytes(static_cast<size_t>(shape.elements()));
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

std::vector<uint8_t> Changed(const PixelAugmentConfig& config, int64_t picture,
                             const Shape& shape = kShape) {
  std::vector<uint8_t> bytes = Ramp(shape);
  CounterRandom random = PixelRandom(1, 0, picture);
  AugmentPixels(config, shape, random, bytes);
  return bytes;
}

TEST(AugmentPixels, NothingIsAskedNothingIsDone) {
  EXPECT_EQ(Changed({}, 0), Ramp());
  EXPECT_EQ(Changed({.enabled = false, .flip_probability = 1, .crop_padding = 2}, 0), Ramp());
}

TEST(AugmentPixels, IsAFunctionOfSeedEpochAndPicture) {
  const PixelAugmentConfig config{
      .flip_probability = 0.5, .crop_padding = 2, .brightness = 0.5, .erase_probability = 0.5};
  EXPECT_EQ(Changed(config, 3), Changed(config, 3));
  std::set<std::vector<uint8_t>> results;
  for (int64_t picture = 0; picture < 20; ++picture) results.insert(Changed(config, picture));
  EXPECT_GT(results.size(), 15u);
  EXPECT_NE(PixelRandom(1, 0, 3).Next(), PixelRandom(1, 1, 3).Next());
  EXPECT_NE(PixelRandom(1, 0, 3).Next(), PixelRandom(2, 0, 3).Next());
}

TEST(AugmentPixels, FlipExchangesLeftAndRight) {
  const auto flipped = Changed({.flip_probability = 1}, 0, {1, 3, 3});
  EXPECT_THAT(flipped, ElementsAre(7, 8, 9, 4, 5, 6, 1, 2, 3));
  int flips = 0;
  for (int64_t i = 0; i < 200; ++i) flips += Changed({.flip_probability = 0.5}, i) != Ramp();
  EXPECT_GT(flips, 70);
  EXPECT_LT(flips, 130);
}

TEST(AugmentPixels, CropMovesByAllOffsetsAndBlackComesIn) {
  std::set<std::pair<int, int>> offsets;
  const std::vector<uint8_t> before = Ramp();
  for (int64_t picture = 0; picture < 300; ++picture) {
    const auto moved = Changed({.crop_padding = 1}, picture);
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        std::vector<uint8_t> expected;
        for (int y = dy; y < 4 + dy; ++y) {
          for (int x = dx; x < 5 + dx; ++x) {
            for (int c = 0; c < 3; ++c) {
              const bool inside = y >= 0 && y < 4 && x >= 0 && x < 5;
              expected.push_back(inside ? before[static_cast<size_t>((y * 5 + x) * 3 + c)] : 0);
            }
          }
        }
        if (moved == expected) offsets.insert({dy, dx});
      }
    }
  }
  EXPECT_EQ(offsets.size(), 9u);
}

TEST(AugmentPixels, BrightnessIsAFactor) {
  std::vector<uint8_t> bytes = {10, 100, 200};
  CounterRandom random = PixelRandom(1, 0, 0);
  AugmentPixels({.brightness = 0.5}, {1, 1, 3}, random, bytes);
  const double factor = bytes[1] / 100.0;
  EXPECT_GE(factor, 0.49);
  EXPECT_LE(factor, 1.51);
  EXPECT_NEAR(bytes[0], 10 * factor, 1);
  EXPECT_NEAR(bytes[2], std::min(255.0, 200 * factor), 2);
}

TEST(AugmentPixels, ContrastKeepsTheMeanAndSaturationTheGrey) {
  bool changed = false;
  for (int64_t picture = 0; picture < 20; ++picture) {
    const auto grey_of = [](const uint8_t* p) {
      return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    };
    std::vector<uint8_t> bytes = {100, 100, 100, 140, 140, 140};
    CounterRandom random = PixelRandom(1, 0, picture);
    AugmentPixels({.contrast = 0.5}, {1, 2, 3}, random, bytes);
    EXPECT_NEAR(bytes[0] + bytes[3], 240, 1);
    changed = changed || bytes[3] - bytes[0] != 40;
    std::vector<uint8_t> colour = {90, 120, 150};
    CounterRandom again = PixelRandom(1, 0, picture);
    AugmentPixels({.saturation = 0.5}, {1, 1, 3}, again, colour);
    EXPECT_NEAR(grey_of(colour.data()), 0.299 * 90 + 0.587 * 120 + 0.114 * 150, 1);
    // One channel has no saturation.
    std::vector<uint8_t> grey = {90, 120};
    CounterRandom third = PixelRandom(1, 0, picture);
    AugmentPixels({.saturation = 0.5}, {1, 2, 1}, third, grey);
    EXPECT_THAT(grey, ElementsAre(90, 120));
  }
  EXPECT_TRUE(changed);
}

TEST(AugmentPixels, EraseFillsARectangleWithTheMean) {
  const Shape shape{16, 16, 1};
  for (int64_t picture = 0; picture < 50; ++picture) {
    std::vector<uint8_t> bytes(256, 10);
    std::fill(bytes.begin() + 128, bytes.end(), uint8_t{30});
    const std::vector<uint8_t> before = bytes;
    CounterRandom random = PixelRandom(1, 0, picture);
    AugmentPixels({.erase_probability = 1, .erase_area_max = 0.2}, shape, random, bytes);
    int64_t erased = 0, top = 16, bottom = -1, left = 16, right = -1;
    for (int64_t y = 0; y < 16; ++y) {
      for (int64_t x = 0; x < 16; ++x) {
        if (bytes[static_cast<size_t>(y * 16 + x)] != 20) continue;  // the mean of the picture
        ++erased;
        top = std::min(top, y), bottom = std::max(bottom, y);
        left = std::min(left, x), right = std::max(right, x);
      }
    }
    EXPECT_GE(erased, 2) << picture;
    EXPECT_LE(erased, 80) << picture;
    EXPECT_EQ(erased, (bottom - top + 1) * (right - left + 1)) << picture;
  }
}

TEST(AugmentPixels, OneSettingLeavesTheOthersDrawsAlone) {
  for (int64_t picture = 0; picture < 20; ++picture) {
    const auto cropped = Changed({.crop_padding = 1}, picture);
    EXPECT_EQ(Changed({.flip_probability = 1e-9, .crop_padding = 1}, picture), cropped);
    EXPECT_EQ(Changed({.crop_padding = 1, .erase_area_max = 0.9}, picture), cropped);
  }
}

}  // namespace
}  // namespace bisparse::data
