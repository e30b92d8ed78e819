// SPDX-License-Identifier: Apache-2.0
// Read first: quantise.h. Tested in: quantise_test.cc.
//   FindRanges (two passes of the f32 engine over the samples) → for each layer with weights
//   OutputScale, then QuantiseLayer: its steps follow from the scales on both sides
#include "train/export/quantise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/check.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/pack.h"

namespace bisparse::train {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Layout;
using packed::Model;

constexpr double kMaxWeight = packed::kNarrowWeight, kMaxActivation = 255;
constexpr int kMaxShift = 30;

/// What a map's values span, and the scale that holds them with the least squared error: finer
/// steps round less and clip more. Widened to hold 0, which padding and ReLU need.
class Range {
 public:
  void Widen(double x) {
    low_ = std::min(low_, x);
    high_ = std::max(high_, x);
  }
  /// For every x again, after the last Widen.
  void Try(double x) {
    for (int j = 0; j < kCandidates; ++j) {
      const double scale = Candidate(j);
      const double q = std::clamp(std::rint(x / scale), -zero(), kMaxActivation - zero());
      errors_[j] += (x - scale * q) * (x - scale * q);
    }
  }
  double zero() const { return std::rint(-low_ / Candidate(0)); }
  float scale() const {
    const auto best = std::min_element(errors_.begin(), errors_.end()) - errors_.begin();
    return static_cast<float>(
        std::max<double>(Candidate(static_cast<int>(best)), std::numeric_limits<float>::min()));
  }

 private:
  // The span / 255 and 32 finer ones down to a quarter, where clipping has long cost more.
  static constexpr int kCandidates = 33;
  double Candidate(int j) const {
    if (low_ == high_) return 1.0;
    return (high_ - low_) / kMaxActivation * std::exp2(-j / 16.0);
  }

  double low_ = 0, high_ = 0;
  std::array<double, kCandidates> errors_{};
};

struct Ranges {
  Range input;
  /// Of the layers with weights, what of their maps the next one reads: the values that survive the
  /// last relu or kwta in front of it.
  std::vector<Range> layers;
};

Ranges FindRanges(const Model& f32, std::span<const float> samples_bi) {
  Ranges ranges;
  ranges.layers.resize(f32.layers.size());
  std::vector<Range*> range_of(f32.layers.size());  // to which the values behind a layer belong
  for (size_t i = f32.layers.size(), behind = 0; i-- > 0;) {
    const LayerKind kind = f32.layers[i].kind;
    if (behind == 0 && (kind == LayerKind::kRelu || kind == LayerKind::kKwta)) behind = i;
    if (!f32.layers[i].HasWeights()) continue;
    if (behind > 0) range_of[behind] = &ranges.layers[i];
    behind = 0;
  }
  const bool positive = packed::InputIsUnsigned(f32);
  const Layer* const affine = packed::InputAffine(f32);
  const Engine engine = EngineAccess::FromModel(f32);
  const auto floats = static_cast<size_t>(f32.input.elements());
  for (void (Range::*const add)(double) : {&Range::Widen, &Range::Try}) {
    for (size_t begin = 0; begin < samples_bi.size(); begin += floats) {
      const std::span<const float> features = samples_bi.subspan(begin, floats);
      for (size_t i = 0; i < features.size(); ++i) {
        const float x = affine ? packed::AffineAt(*affine, i, features[i]) : features[i];
        (ranges.input.*add)(positive ? std::max(x, 0.0f) : x);
      }
      EngineAccess::RunTraced(engine, features, [&](size_t i, std::span<const float> map) {
        if (range_of[i] == nullptr) return;
        for (const float y : map) {
          if (y > 0.0f) (range_of[i]->*add)(y);
        }
      });
    }
  }
  return ranges;
}

/// Row-major weights of one layer and the largest of each output.
class Weights {
 public:
  explicit Weights(const Layer& layer)
      : layout_(layer.kernel(), layer.packing),
        weight_op_(packed::Unpack(layout_, layer.weight_pnl, layer.owner_nr)) {
    for (int32_t o = 0; o < layout_.shape.outputs; ++o) {
      double largest = 0;
      for (const float weight : row(o)) largest = std::max<double>(largest, std::abs(weight));
      largest_o_.push_back(largest);
    }
  }

  const Layout& layout() const { return layout_; }
  std::span<const float> row(int32_t o) const {
    return std::span(weight_op_)
        .subspan(static_cast<size_t>(o * layout_.positions),
                 static_cast<size_t>(layout_.positions));
  }
  double largest(int32_t o) const { return largest_o_[static_cast<size_t>(o)]; }
  double largest() const { return *std::max_element(largest_o_.begin(), largest_o_.end()); }

 private:
  Layout layout_;
  std::vector<float> weight_op_;
  std::vector<double> largest_o_;
};

/// The largest shift with |weight| ≤ kMaxWeight in steps of output_scale·2^−shift / input_scale; below 0
/// where there is none.
int LargestShift(double largest_weight, float input_scale, float output_scale) {
  if (largest_weight == 0.0) return kMaxShift;
  const double steps = kMaxWeight * output_scale / (input_scale * largest_weight);
  return std::min(std::ilogb(steps), kMaxShift);
}

double Step(int shift, float input_scale, float output_scale) {
  return std::ldexp(double{output_scale}, -shift) / input_scale;
}

/// The range's, unless the largest weight would need a shift below 0.
float OutputScale(const Weights& weights, const Range& range, float input_scale) {
  const auto least = static_cast<float>(input_scale * weights.largest() / kMaxWeight);
  return std::max(range.scale(), std::nextafter(least, std::numeric_limits<float>::infinity()));
}

/// One output's weights and bias in whole steps.
struct RoundedOutput {
  std::vector<float> weight_p;
  double bias = 0;
  bool fits = false;  ///< its sums, into 32 bits
};

RoundedOutput RoundOutput(std::span<const float> weight_p, double bias, double step,
                          double input_scale, int32_t input_zero, int shift) {
  RoundedOutput rounded;
  double sum = 0, magnitude = 0;
  for (const float weight : weight_p) {
    const double steps = std::rint(weight / step);
    rounded.weight_p.push_back(static_cast<float>(steps));
    sum += steps;
    magnitude += std::abs(steps);
  }
  rounded.bias = std::rint(bias / (step * input_scale)) - input_zero * sum;
  const double rounding = shift > 0 ? std::ldexp(1.0, shift - 1) : 0.0;
  rounded.fits = kMaxActivation * magnitude + std::abs(rounded.bias) + rounding <=
                 std::numeric_limits<int32_t>::max();
  return rounded;
}

/// What the int8 model's spans point into.
struct Storage {
  std::list<AlignedBuffer<int8_t>> weights;
  std::list<AlignedBuffer<int32_t>> biases;
  std::list<AlignedBuffer<uint8_t>> owners_and_shifts;
  std::list<AlignedBuffer<float>> scales;
};

template <class T, class Values>
std::span<const T> Keep(std::list<AlignedBuffer<T>>& buffers, const Values& values) {
  AlignedBuffer<T>& buffer = buffers.emplace_back(values.size());
  std::transform(values.begin(), values.end(), buffer.begin(),
                 [](auto value) { return static_cast<T>(value); });
  return buffer.span();
}

/// A layer with weights in int8: output_scale > 0 is that of its map, 0 makes logits.
Layer QuantiseLayer(const Layer& f32, const Weights& weights, float input_scale, int32_t input_zero,
                    float output_scale, const std::string& location, Storage& storage) {
  const Layout& layout = weights.layout();
  const auto outputs_padded = static_cast<size_t>(layout.outputs_padded());
  std::vector<float> weight_op;
  std::vector<double> bias_o(outputs_padded);
  std::vector<int> shift_o(outputs_padded);
  std::vector<float> scale_o(outputs_padded, 1.0f);
  const bool logits = output_scale == 0.0f;
  for (int32_t o = 0; o < layout.shape.outputs; ++o) {
    const size_t at = static_cast<size_t>(o);
    const double bias = f32.bias_o[at];
    int& shift = shift_o[at];
    RoundedOutput rounded;
    if (logits) {
      double scale =
          std::max({input_scale * weights.largest(o) / kMaxWeight, std::ldexp(std::abs(bias), -30),
                    double{std::numeric_limits<float>::min()}});
      for (; !rounded.fits; scale *= 2) {
        scale_o[at] = static_cast<float>(scale);
        rounded = RoundOutput(weights.row(o), bias, double{scale_o[at]} / input_scale, input_scale,
                              input_zero, 0);
      }
    } else {
      shift = LargestShift(weights.largest(o), input_scale, output_scale);
      for (; !rounded.fits && shift >= 0; --shift) {
        rounded = RoundOutput(weights.row(o), bias, Step(shift, input_scale, output_scale),
                              input_scale, input_zero, shift);
      }
      ++shift;
    }
    if (!rounded.fits) {
      Fail(ErrorKind::kConfiguration, fmt::format("{}: layer '{}'", location, f32.name),
           "sums of output {} leave 32 bits in int8 (hint: its bias is {}, its input has {} "
           "values; export as f32)",
           o, bias, layout.positions);
    }
    weight_op.insert(weight_op.end(), rounded.weight_p.begin(), rounded.weight_p.end());
    bias_o[at] = rounded.bias;
  }
  Layer layer = f32;
  layer.owner_nr = Keep(storage.owners_and_shifts, f32.owner_nr);
  layer.weight_pnl = layer.bias_o = {};
  layer.weight_i8_pnl = Keep(storage.weights, packed::Pack(layout, weight_op, f32.owner_nr));
  layer.bias_i32_o = Keep(storage.biases, bias_o);
  if (logits) {
    layer.scale_o = Keep(storage.scales, scale_o);
  } else {
    layer.shift_o = Keep(storage.owners_and_shifts, shift_o);
  }
  layer.output_scale = output_scale;
  return layer;
}

void CheckArguments(const Model& f32, std::span<const float> samples_bi) {
  if (f32.format != packed::NumberFormat::kF32) {
    Fail(ErrorKind::kConfiguration, f32.name, "is {} already, only f32 models can be quantised",
         packed::NumberFormatName(f32.format));
  }
  const std::string fault = packed::I8Fault(f32);
  if (!fault.empty()) {
    Fail(ErrorKind::kConfiguration, f32.name, "{} (hint: export as f32)", fault);
  }
  const std::vector<bool> negatives_read = packed::NegativesAreRead(f32);
  for (std::ptrdiff_t i = 0; i < packed::LastWithWeights(f32); ++i) {
    const Layer& layer = f32.layers[static_cast<size_t>(i)];
    if (!layer.HasWeights() || !negatives_read[static_cast<size_t>(i + 1)]) continue;
    Fail(ErrorKind::kConfiguration, f32.name,
         "layer '{}': kind = {}, int8 needs a relu or kwta after it (hint: export as f32)",
         layer.name, packed::LayerKindName(layer.kind));
  }
  const auto floats = static_cast<size_t>(f32.input.elements());
  if (samples_bi.empty() || samples_bi.size() % floats != 0) {
    Fail(ErrorKind::kConfiguration, f32.name,
         "{} floats to calibrate with, at least one sample of {} is needed", samples_bi.size(),
         floats);
  }
  for (size_t i = 0; i < samples_bi.size(); ++i) {
    if (!std::isfinite(samples_bi[i])) {
      Fail(ErrorKind::kConfiguration, f32.name, "sample {} to calibrate with holds {}", i / floats,
           samples_bi[i]);
    }
  }
}

}  // namespace

Model QuantiseModel(const Model& f32, std::span<const float> calibration_bi) {
  CheckArguments(f32, calibration_bi);
  const Ranges ranges = FindRanges(f32, calibration_bi);
  const auto storage = std::make_shared<Storage>();
  const auto last = static_cast<size_t>(packed::LastWithWeights(f32));
  Model i8 = f32;
  i8.format = packed::NumberFormat::kI8;
  i8.input_scale = ranges.input.scale();
  i8.input_zero = static_cast<int32_t>(ranges.input.zero());
  float scale = i8.input_scale;
  int32_t zero = i8.input_zero;
  for (size_t i = 0; i < f32.layers.size(); ++i) {
    if (f32.layers[i].kind == LayerKind::kAffine) {  // stays in floats
      i8.layers[i].weight_pnl = Keep(storage->scales, f32.layers[i].weight_pnl);
      i8.layers[i].bias_o = Keep(storage->scales, f32.layers[i].bias_o);
    }
    if (!f32.layers[i].HasWeights()) continue;
    const Weights weights(f32.layers[i]);
    const float output_scale = i == last ? 0.0f : OutputScale(weights, ranges.layers[i], scale);
    i8.layers[i] =
        QuantiseLayer(f32.layers[i], weights, scale, zero, output_scale, f32.name, *storage);
    scale = output_scale;
    zero = 0;
  }
  i8.storage = storage;
  packed::ValidateModel(i8, f32.name);
  return i8;
}

}  // namespace bisparse::train
