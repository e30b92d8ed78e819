// SPDX-License-Identifier: Apache-2.0
// Read first: pixels.h.
#include "deploy/frontend/pixels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "deploy/base/check.h"

namespace bisparse {
namespace {

/// Weights are whole numbers of this sum: 16 bits. Along the rows a result keeps 8 bits below a byte's step, so that no
/// sum of products exceeds 32 bits: 2^16 · (255 · 2^8) + 2^23 < 2^32.
constexpr int kWeightBits = 16, kKeptBits = 8;

/// For each of the outputs along one axis the inputs from `first` on and their weights, `offset` … of all weights.
struct Axis {
  std::vector<int64_t> first_i, offset_i;  // offset_i: one more than outputs
  std::vector<uint32_t> weights;
};

/// `outputs` pixels from `inputs` pixels that begin at `begin`.
Axis MakeAxis(int64_t begin, int64_t inputs, int64_t outputs) {
  Axis axis;
  axis.offset_i.push_back(0);
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
  const double half_width = std::max(1.0, scale);
  std::vector<double> weight_j;
  for (int64_t i = 0; i < outputs; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, std::llround(std::floor(centre - half_width)));
    const auto last = std::min<int64_t>(inputs - 1, std::llround(std::floor(centre + half_width)));
    weight_j.clear();
    double sum = 0.0;
    for (int64_t j = first; j <= last; ++j) {
      const double distance = std::abs(static_cast<double>(j) + 0.5 - centre);
      weight_j.push_back(std::max(0.0, 1.0 - distance / half_width));
      sum += weight_j.back();
    }
    axis.first_i.push_back(begin + first);
    // Rounded as running sums, so that the weights have their sum and none is off by more than one.
    double running = 0.0;
    int64_t given = 0;
    for (const double weight : weight_j) {
      running += weight;
      const int64_t wanted = std::llround(running / sum * (1 << kWeightBits));
      axis.weights.push_back(static_cast<uint32_t>(wanted - given));
      given = wanted;
    }
    axis.offset_i.push_back(std::ssize(axis.weights));
  }
  return axis;
}

/// The part of a picture that is taken.
struct Part {
  int64_t y = 0, x = 0, height, width;
};

Part PartOf(const Pixels& picture, PictureFit fit, const Shape& shape) {
  Part part{.height = picture.height, .width = picture.width};
  if (fit == PictureFit::kStretch) return part;
  const int64_t high = part.height * shape.width, wide = part.width * shape.height;
  if (wide > high) {
    part.width = std::max<int64_t>(1, (2 * high + shape.height) / (2 * int64_t{shape.height}));
    part.x = (picture.width - part.width) / 2;
  } else if (high > wide) {
    part.height = std::max<int64_t>(1, (2 * wide + shape.width) / (2 * int64_t{shape.width}));
    part.y = (picture.height - part.height) / 2;
  }
  return part;
}

/// resized: height × width × picture.channels.
std::vector<uint8_t> Resize(const Pixels& picture, const Part& part, int64_t height,
                            int64_t width) {
  const int64_t channels = picture.channels;
  const Axis columns = MakeAxis(part.x, part.width, width);
  const Axis rows = MakeAxis(0, part.height, height);
  std::vector<uint16_t> narrow(static_cast<size_t>(part.height * width * channels));
  for (int64_t y = 0; y < part.height; ++y) {
    const uint8_t* const from = picture.bytes_hwc.data() + (part.y + y) * picture.width * channels;
    uint16_t* const to = narrow.data() + y * width * channels;
    for (int64_t x = 0; x < width; ++x) {
      const auto begin = columns.offset_i[static_cast<size_t>(x)];
      const auto count = columns.offset_i[static_cast<size_t>(x) + 1] - begin;
      const uint32_t* const weights = columns.weights.data() + begin;
      const uint8_t* const pixels = from + columns.first_i[static_cast<size_t>(x)] * channels;
      for (int64_t c = 0; c < channels; ++c) {
        uint32_t sum = 1u << (kKeptBits - 1);
        for (int64_t j = 0; j < count; ++j) sum += weights[j] * pixels[j * channels + c];
        to[x * channels + c] = static_cast<uint16_t>(sum >> kKeptBits);
      }
    }
  }
  const int64_t row = width * channels;
  std::vector<uint8_t> resized(static_cast<size_t>(height * row));
  std::vector<uint32_t> sums(static_cast<size_t>(row));
  for (int64_t y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 1u << (kWeightBits + kKeptBits - 1));
    const auto begin = rows.offset_i[static_cast<size_t>(y)];
    const auto count = rows.offset_i[static_cast<size_t>(y) + 1] - begin;
    for (int64_t j = 0; j < count; ++j) {
      const uint32_t weight = rows.weights[static_cast<size_t>(begin + j)];
      const uint16_t* const from = narrow.data() + (rows.first_i[static_cast<size_t>(y)] + j) * row;
      for (int64_t i = 0; i < row; ++i) sums[static_cast<size_t>(i)] += weight * from[i];
    }
    for (int64_t i = 0; i < row; ++i) {
      resized[static_cast<size_t>(y * row + i)] =
          static_cast<uint8_t>(sums[static_cast<size_t>(i)] >> (kWeightBits + kKeptBits));
    }
  }
  return resized;
}

/// One channel to three, or three to one.
void Convert(std::span<const uint8_t> from, int32_t from_channels, std::span<uint8_t> to) {
  if (from_channels == 1) {
    for (size_t i = 0; i < from.size(); ++i) std::fill_n(to.begin() + 3 * i, 3, from[i]);
    return;
  }
  for (size_t i = 0; i < to.size(); ++i) {
    const uint8_t* const rgb = from.data() + 3 * i;
    to[i] = static_cast<uint8_t>((299u * rgb[0] + 587u * rgb[1] + 114u * rgb[2] + 500u) / 1000u);
  }
}

}  // namespace

std::string PixelsFault(const Pixels& picture) {
  if (picture.channels != 1 && picture.channels != 3) {
    return fmt::format("channels = {}, allowed are 1 and 3", picture.channels);
  }
  const int64_t height = picture.height, width = picture.width;
  for (const auto& [name, side] : {std::pair{"height", height}, std::pair{"width", width}}) {
    if (side >= 1 && side <= kMaxPictureSide) continue;
    return fmt::format("{} = {}, allowed are 1 to {}", name, side, kMaxPictureSide);
  }
  if (height * width > kMaxPicturePixels) {
    return fmt::format("{}x{} are {} pixels, at most {} are allowed", height, width, height * width,
                       kMaxPicturePixels);
  }
  if (std::ssize(picture.bytes_hwc) != height * width * picture.channels) {
    return fmt::format("{} bytes, {}x{}x{} have {}", picture.bytes_hwc.size(), height, width,
                       picture.channels, height * width * picture.channels);
  }
  return {};
}

std::string PictureInputFault(const PictureInput& input, const Shape& shape) {
  if (shape.channels != 1 && shape.channels != 3) {
    return fmt::format("the input has {} channels, pictures have 1 or 3", shape.channels);
  }
  if (shape.height > kMaxPictureSide || shape.width > kMaxPictureSide) {
    return fmt::format("the input is {}x{}, pictures have at most {} rows and columns",
                       shape.height, shape.width, kMaxPictureSide);
  }
  const auto channels = static_cast<size_t>(shape.channels);
  for (const auto& [name, values] :
       {std::pair{"mean", &input.mean_c}, std::pair{"deviation", &input.deviation_c}}) {
    if (values->size() != channels) {
      return fmt::format("{} has {} value{}, the input has {} channel{}", name, values->size(),
                         values->size() == 1 ? "" : "s", channels, channels == 1 ? "" : "s");
    }
  }
  for (size_t c = 0; c < channels; ++c) {
    if (!(input.mean_c[c] >= 0.0f && input.mean_c[c] <= 1.0f)) {
      return fmt::format("mean of channel {} = {}, allowed are 0 to 1", c, input.mean_c[c]);
    }
    if (!(input.deviation_c[c] >= 1e-3f && input.deviation_c[c] <= 1e3f)) {
      return fmt::format("deviation of channel {} = {}, allowed are 0.001 to 1000", c,
                         input.deviation_c[c]);
    }
  }
  return {};
}

void FitPixels(const Pixels& picture, PictureFit fit, const Shape& shape,
               std::span<uint8_t> bytes_hwc) {
  BISPARSE_CHECK(PixelsFault(picture).empty());
  BISPARSE_CHECK(std::ssize(bytes_hwc) == shape.elements());
  std::span<const uint8_t> fitted = picture.bytes_hwc;
  std::vector<uint8_t> resized;
  if (picture.height != shape.height || picture.width != shape.width) {
    resized = Resize(picture, PartOf(picture, fit, shape), shape.height, shape.width);
    fitted = resized;
  }
  if (picture.channels == shape.channels) {
    std::copy(fitted.begin(), fitted.end(), bytes_hwc.begin());
  } else {
    Convert(fitted, picture.channels, bytes_hwc);
  }
}

PixelScale::PixelScale(const PictureInput& input)
    : channels_(static_cast<int32_t>(input.mean_c.size())) {
  BISPARSE_CHECK(PictureInputFault(input, {1, 1, channels_}).empty());
  for (int32_t c = 0; c < channels_; ++c) {
    const auto i = static_cast<size_t>(c);
    source_c_[i] = input.order == ChannelOrder::kBgr ? channels_ - 1 - c : c;
    for (size_t v = 0; v < 256; ++v) {
      feature_cv_[i][v] =
          static_cast<float>((static_cast<double>(v) / 255.0 - double{input.mean_c[i]}) /
                             double{input.deviation_c[i]});
    }
  }
}

void PixelScale::Compute(std::span<const uint8_t> bytes_hwc, std::span<float> features_hwc) const {
  BISPARSE_CHECK(bytes_hwc.size() == features_hwc.size());
  const auto channels = static_cast<size_t>(channels_);
  for (size_t i = 0; i + channels <= bytes_hwc.size(); i += channels) {
    for (size_t c = 0; c < channels; ++c) {
      features_hwc[i + c] = feature_cv_[c][bytes_hwc[i + static_cast<size_t>(source_c_[c])]];
    }
  }
}

}  // namespace bisparse
