// SPDX-License-Identifier: Apache-2.0
// Read first: augment_pixels.h.
#include "data/augment_pixels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "data/augment.h"
#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

constexpr double kEraseAreaMin = 0.02, kEraseLongest = 1 / 0.3;

void Move(const Shape& shape, bool flip, int64_t dy, int64_t dx, std::span<uint8_t> bytes_hwc) {
  const std::vector<uint8_t> before(bytes_hwc.begin(), bytes_hwc.end());
  const int64_t channels = shape.channels;
  auto out = bytes_hwc.begin();
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x, out += channels) {
      const int64_t v = y + dy, moved = x + dx;
      const int64_t u = flip ? shape.width - 1 - moved : moved;
      if (v < 0 || v >= shape.height || u < 0 || u >= shape.width) {
        std::fill_n(out, channels, uint8_t{0});
      } else {
        std::copy_n(before.begin() + (v * shape.width + u) * channels, channels, out);
      }
    }
  }
}

/// ITU-R BT.601, as FitPixels has it; of other numbers of channels than three their mean.
float Grey(const uint8_t* pixel, int64_t channels) {
  if (channels == 3) {
    return 0.299f * static_cast<float>(pixel[0]) + 0.587f * static_cast<float>(pixel[1]) +
           0.114f * static_cast<float>(pixel[2]);
  }
  float sum = 0.0f;
  for (int64_t c = 0; c < channels; ++c) sum += static_cast<float>(pixel[c]);
  return sum / static_cast<float>(channels);
}

struct ColourFactors {
  float brightness, contrast, saturation;
};

void ChangeColours(const ColourFactors& factors, int64_t channels, std::span<uint8_t> bytes_hwc) {
  const auto pixels = std::ssize(bytes_hwc) / channels;
  double sum = 0.0;
  for (int64_t i = 0; i < pixels; ++i) sum += Grey(bytes_hwc.data() + i * channels, channels);
  const auto mean = factors.brightness * static_cast<float>(sum / static_cast<double>(pixels));
  // All three are linear: a value becomes about·(1 − …) plus its own part.
  const auto contrasted = [&](float value) {
    return mean + factors.contrast * (factors.brightness * value - mean);
  };
  for (int64_t i = 0; i < pixels; ++i) {
    uint8_t* const pixel = bytes_hwc.data() + i * channels;
    const float grey = contrasted(Grey(pixel, channels));
    const float saturation = channels == 3 ? factors.saturation : 1.0f;
    for (int64_t c = 0; c < channels; ++c) {
      const float value = contrasted(static_cast<float>(pixel[c]));
      pixel[c] =
          static_cast<uint8_t>(std::clamp(grey + saturation * (value - grey), 0.0f, 255.0f) + 0.5f);
    }
  }
}

void Erase(const Shape& shape, int64_t top, int64_t left, int64_t height, int64_t width,
           std::span<uint8_t> bytes_hwc) {
  const int64_t channels = shape.channels, pixels = std::ssize(bytes_hwc) / channels;
  std::vector<uint8_t> mean_c;
  for (int64_t c = 0; c < channels; ++c) {
    int64_t sum = 0;
    for (int64_t i = 0; i < pixels; ++i) sum += bytes_hwc[static_cast<size_t>(i * channels + c)];
    mean_c.push_back(static_cast<uint8_t>((sum + pixels / 2) / pixels));
  }
  for (int64_t y = top; y < top + height; ++y) {
    for (int64_t x = left; x < left + width; ++x) {
      std::copy(mean_c.begin(), mean_c.end(), bytes_hwc.begin() + (y * shape.width + x) * channels);
    }
  }
}

}  // namespace

void AugmentPixels(const PixelAugmentConfig& config, const Shape& shape, CounterRandom& random,
                   std::span<uint8_t> bytes_hwc) {
  BISPARSE_CHECK(std::ssize(bytes_hwc) == shape.elements());
  if (!config.Changes()) return;
  const bool flip = random.Uniform() < config.flip_probability;
  const int64_t span = 2 * int64_t{config.crop_padding} + 1;
  const int64_t dy = IndexBelow(random, span) - config.crop_padding;
  const int64_t dx = IndexBelow(random, span) - config.crop_padding;
  const auto factor = [&](double strength) {
    return static_cast<float>(UniformIn(random, 1 - strength, 1 + strength));
  };
  ColourFactors factors;
  factors.brightness = factor(config.brightness);
  factors.contrast = factor(config.contrast);
  factors.saturation = factor(config.saturation);
  const bool erase = random.Uniform() < config.erase_probability;
  const double area =
      UniformIn(random, kEraseAreaMin, config.erase_area_max) * shape.height * shape.width;
  // Height over width or its inverse; without logarithms, which differ between machines.
  const double longer = UniformIn(random, 1, kEraseLongest);
  const double ratio = random.Uniform() < 0.5 ? longer : 1 / longer;
  const auto side = [](double length, int64_t most) {
    return std::clamp<int64_t>(std::llround(length), 1, most);
  };
  const int64_t height = side(std::sqrt(area * ratio), shape.height);
  const int64_t width = side(std::sqrt(area / ratio), shape.width);
  const int64_t top = IndexBelow(random, shape.height - height + 1);
  const int64_t left = IndexBelow(random, shape.width - width + 1);

  if (flip || dy != 0 || dx != 0) Move(shape, flip, dy, dx, bytes_hwc);
  if (config.brightness > 0 || config.contrast > 0 || config.saturation > 0) {
    ChangeColours(factors, shape.channels, bytes_hwc);
  }
  if (erase) Erase(shape, top, left, height, width, bytes_hwc);
}

CounterRandom PixelRandom(uint64_t seed, uint64_t epoch, int64_t picture) {
  constexpr uint64_t kPixelStream = 0x706978656c73;  // "pixels"
  return CounterRandom(seed, {kPixelStream, epoch, static_cast<uint64_t>(picture)});
}

}  // namespace bisparse::data
