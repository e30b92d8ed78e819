// SPDX-License-Identifier: Apache-2.0
// Read first: quantise.h. Tested in: quantise_test.cc.
//   FindRanges     two passes of the f32 engine over the samples: what each value that has steps of its own spans
//   ChooseScales   of each such value, in the order of the layers
//   QuantiseLayer  of each layer with weights: its steps follow from the scales on both sides
//   QuantiseJoin   of add, concat and multiply: shifts between their scales
//   ActivationTable (deploy/ops/activation/op.h)  of sigmoid and its like
#include "train/export/quantise.h"

#include <algorithm>
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
#include "deploy/ops/activation/op.h"
#include "deploy/ops/operator.h"
#include "deploy/ops/shared/join.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/pack.h"
#include "train/export/quantise_ranges.h"

namespace bisparse::train {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Layout;
using packed::Model;

constexpr double kMaxWeight = packed::kNarrowWeight;
constexpr int kMaxShift = 30;

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

/// `wanted`, unless the largest weight would need a shift below 0.
float OutputScale(double largest_weight, float wanted, float input_scale) {
  const auto least = static_cast<float>(input_scale * largest_weight / kMaxWeight);
  return std::max(wanted, std::nextafter(least, std::numeric_limits<float>::infinity()));
}

/// One output's weights and bias in whole steps.
struct RoundedOutput {
  std::vector<float> weight_p;
  double bias = 0;
  bool fits = false;  ///< its sums, into 32 bits
};

RoundedOutput RoundOutput(std::span<const float> weight_p, double bias, double step,
                          double input_scale, int32_t input_zero, int shift, int32_t output_zero) {
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
  rounded.fits = kMaxActivation * magnitude + std::abs(rounded.bias) + rounding +
                     std::ldexp(output_zero, shift) <=
                 std::numeric_limits<int32_t>::max();
  return rounded;
}

/// What the int8 model's spans point into.
struct Storage {
  std::list<AlignedBuffer<int8_t>> weights;
  std::list<AlignedBuffer<int32_t>> biases;
  std::list<AlignedBuffer<uint8_t>> bytes;
  std::list<AlignedBuffer<float>> scales;
};

template <class T, class Values>
std::span<const T> Keep(std::list<AlignedBuffer<T>>& buffers, const Values& values) {
  AlignedBuffer<T>& buffer = buffers.emplace_back(values.size());
  std::transform(values.begin(), values.end(), buffer.begin(),
                 [](auto value) { return static_cast<T>(value); });
  return buffer.span();
}

/// A layer with weights in int8; an output scale of 0 makes logits.
Layer QuantiseLayer(const Layer& f32, const packed::Quantisation& input,
                    const packed::Quantisation& output, const std::string& location,
                    Storage& storage) {
  const float input_scale = input.scale, output_scale = output.scale;
  const Weights weights(f32);
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
                              input.zero, 0, 0);
      }
    } else {
      shift = LargestShift(weights.largest(o), input_scale, output_scale);
      for (; !rounded.fits && shift >= 0; --shift) {
        rounded = RoundOutput(weights.row(o), bias, Step(shift, input_scale, output_scale),
                              input_scale, input.zero, shift, output.zero);
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
  layer.owner_nr = Keep(storage.bytes, f32.owner_nr);
  layer.weight_pnl = layer.bias_o = {};
  layer.weight_i8_pnl = Keep(storage.weights, packed::Pack(layout, weight_op, f32.owner_nr));
  layer.bias_i32_o = Keep(storage.biases, bias_o);
  if (logits) {
    layer.scale_o = Keep(storage.scales, scale_o);
  } else {
    layer.shift_o = Keep(storage.bytes, shift_o);
  }
  layer.output_scale = output_scale;
  layer.output_zero = output.zero;
  return layer;
}

/// An add, concat or multiply in int8: shifts between scales that are powers of two.
Layer QuantiseJoin(const Layer& f32, const std::vector<packed::Quantisation>& inputs,
                   const packed::Quantisation& output, const std::string& location) {
  Layer layer = f32;
  double common = output.scale;
  if (layer.kind == LayerKind::kMultiply) {
    common = double{inputs[0].scale} * inputs[1].scale;
  } else {
    for (const packed::Quantisation& input : inputs) {
      common = std::min<double>(common, input.scale);
    }
    for (const packed::Quantisation& input : inputs) {
      layer.input_shift.push_back(static_cast<uint8_t>(std::ilogb(input.scale / common)));
    }
  }
  const int shift = std::ilogb(output.scale / common);
  if (shift > packed::kMaxOutputShift) {
    Fail(ErrorKind::kConfiguration, fmt::format("{}: layer '{}'", location, f32.name),
         "values are 2^{} times those that it reads, int8 allows 2^{} (hint: export as f32)", shift,
         packed::kMaxOutputShift);
  }
  layer.output_shift = static_cast<uint8_t>(shift);
  layer.output_scale = output.scale;
  layer.output_zero = output.zero;
  return layer;
}

/// The least power of two from x on.
float PowerOfTwoFrom(float x) {
  int exponent = 0;
  return std::frexp(x, &exponent) == 0.5f ? x : std::ldexp(1.0f, exponent);
}

/// What joins ask of scales beyond what each value's numbers do. Entry v + 1 is of value v.
struct Wishes {
  std::vector<float> least;
  std::vector<float> of_empty;  ///< of a value that was always 0; 0: none yet
};

/// The scale of each value, entry v + 1; of the logits 0.
std::vector<float> TryScales(const Values& values, const std::vector<Range>& ranges,
                             std::span<const double> largest_weights, const Wishes& wishes) {
  std::vector<float> scales;
  const auto wanted_of = [&](size_t entry) {
    const float of_empty = wishes.of_empty[entry];
    return std::max(of_empty > 0 ? of_empty : ranges[entry].scale(), wishes.least[entry]);
  };
  scales.push_back(wanted_of(0));
  for (int32_t i = 0; i < values.count(); ++i) {
    const std::span<const int32_t> inputs = values.graph().inputs(i);
    float scale = scales[Values::Entry(values.source(inputs[0]))];
    if (values.IsLogits(i)) {
      scale = 0;
    } else if (values.HasOwnSteps(i)) {
      float wanted = wanted_of(Values::Entry(i));
      if (values.layer(i).kind == LayerKind::kMultiply) {
        wanted = std::max(wanted, scale * scales[Values::Entry(values.source(inputs[1]))]);
      } else if (values.OperatorOf(i).has_weights) {
        wanted = OutputScale(largest_weights[static_cast<size_t>(i)], wanted, scale);
        if (values.joined(i)) wanted = PowerOfTwoFrom(wanted);
      }
      scale = wanted;
    }
    scales.push_back(scale);
  }
  return scales;
}

/// The values of one add or concat, its own first, as entries.
std::vector<size_t> JoinedEntries(const Values& values, int32_t i) {
  std::vector<size_t> entries = {Values::Entry(i)};
  for (const int32_t value : values.graph().inputs(i)) {
    entries.push_back(Values::Entry(values.source(value)));
  }
  return entries;
}

/// Asks that no input of an add or concat is shifted by more than it may be. True if that was new.
bool AddWishes(std::span<const size_t> entries, const std::vector<Range>& ranges,
               std::span<const float> scales, Wishes& wishes) {
  bool added = false;
  float most = 0, most_used = 0;
  for (const size_t entry : entries) {
    most = std::max(most, scales[entry]);
    if (!ranges[entry].is_empty()) most_used = std::max(most_used, scales[entry]);
  }
  for (const size_t entry : entries) {
    const float lowest = std::ldexp(most, -packed::kMaxInputShift);
    if (ranges[entry].is_empty() && most_used > 0 && wishes.of_empty[entry] == 0) {
      wishes.of_empty[entry] = most_used;
      added = true;
    } else if (scales[entry] < lowest) {
      wishes.least[entry] = lowest;
      added = true;
    }
  }
  return added;
}

std::vector<float> ChooseScales(const Values& values, const std::vector<Range>& ranges) {
  std::vector<double> largest_weights(static_cast<size_t>(values.count()));
  for (int32_t i = 0; i < values.count(); ++i) {
    if (values.layer(i).HasWeights()) {
      largest_weights[static_cast<size_t>(i)] = Weights(values.layer(i)).largest();
    }
  }
  Wishes wishes{std::vector<float>(ranges.size()), std::vector<float>(ranges.size())};
  // Each wish but the last doubles one that was there, or is the first of its value: there is a last.
  for (;;) {
    const std::vector<float> scales = TryScales(values, ranges, largest_weights, wishes);
    bool added = false;
    for (int32_t i = 0; i < values.count() && !added; ++i) {
      const bool joins = values.OperatorOf(i).most_inputs > 1;
      if (!joins || values.layer(i).kind == LayerKind::kMultiply) continue;
      added = AddWishes(JoinedEntries(values, i), ranges, scales, wishes);
    }
    if (!added) return scales;
  }
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
  const Values values(f32);
  const std::vector<Range> ranges = FindRanges(f32, values, calibration_bi);
  const std::vector<float> scales = ChooseScales(values, ranges);
  const auto storage = std::make_shared<Storage>();
  Model i8 = f32;
  i8.format = packed::NumberFormat::kI8;
  i8.input_scale = scales[0];
  i8.input_zero = static_cast<int32_t>(ranges[0].zero());
  std::vector<packed::Quantisation> steps = {{i8.input_scale, i8.input_zero}};  // of value v: v + 1
  for (int32_t i = 0; i < values.count(); ++i) {
    const Layer& from = values.layer(i);
    Layer& to = i8.layers[static_cast<size_t>(i)];
    packed::Quantisation output = {scales[Values::Entry(i)], 0};
    if (values.HasOwnSteps(i) && !values.IsLogits(i)) {
      output.zero = static_cast<int32_t>(ranges[Values::Entry(i)].zero());
    }
    std::vector<packed::Quantisation> inputs;
    for (const int32_t value : values.graph().inputs(i)) {
      inputs.push_back(steps[Values::Entry(value)]);
    }
    if (from.kind == LayerKind::kAffine || from.kind == LayerKind::kLayerNorm) {  // stay in floats
      to.weight_pnl = Keep(storage->scales, from.weight_pnl);
      to.bias_o = Keep(storage->scales, from.bias_o);
    }
    if (from.HasWeights()) {
      to = QuantiseLayer(from, inputs[0], output, f32.name, *storage);
    } else if (values.OperatorOf(i).any_zero) {
      to.output_scale = output.scale;
      to.output_zero = output.zero;
      if (const auto* activation = packed::FindActivation(from.kind)) {
        to.table = Keep(storage->bytes, packed::ActivationTable(*activation, inputs[0], output));
      }
    } else if (values.HasOwnSteps(i)) {
      to = QuantiseJoin(from, inputs, output, f32.name);
    }
    steps.push_back(packed::OutputQuantisation(to, inputs[0]));
  }
  i8.storage = storage;
  packed::ValidateModel(i8, f32.name);
  return i8;
}

}  // namespace bisparse::train
