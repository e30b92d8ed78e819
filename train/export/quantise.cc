// SPDX-License-Identifier: Apache-2.0
// Read first: quantise.h. Tested in: quantise_test.cc.
//   Observe (two passes of the f32 engine over the samples) → ChooseInput, ChooseOutputScale (layer
//   by layer, since weight steps follow from the scale of the input) → QuantiseWeights
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

constexpr double kMaxWeight = 127, kMaxActivation = 255;
constexpr int kMaxShift = 30;

// Candidates of a scale: (largest value / 255) · 2^(−1.5 … 0.5) in steps of 2^(1/16). Below that
// range clipping costs more than finer steps give; above it every shift has been tried.
constexpr int kCandidates = 33;
double CandidateFactor(int j) { return std::exp2((j - 24) / 16.0); }
using CandidateErrors = std::array<double, kCandidates>;

double SquaredError(double x, double scale, double low, double high) {
  const double error = x - scale * std::clamp(std::rint(x / scale), low, high);
  return error * error;
}

int SmallestError(const CandidateErrors& errors) {
  return static_cast<int>(std::min_element(errors.begin(), errors.end()) - errors.begin());
}

/// The input's range, widened to hold 0, which padding needs.
struct InputRange {
  double low = 0, high = 0;
  CandidateErrors errors{};
  double step() const { return high > low ? (high - low) / kMaxActivation : 1.0; }
  double zero() const { return std::rint(-low / step()); }
};

/// What the samples made of a layer with weights. `behind` is the last relu or kwta in front of the
/// next layer with weights: what is zero there nobody reads.
struct LayerStatistics {
  size_t behind = 0;
  double largest = 0;            ///< behind
  CandidateErrors errors{};      ///< Σ over the values behind, rounded and clipped
  std::vector<double> active_o;  ///< values above 0 of each output, behind
  std::vector<double> square_c;  ///< Σ x² of each input channel (each input of a linear layer)
  double inputs_c = 0;           ///< x of each channel
};

struct Statistics {
  InputRange input;
  std::vector<LayerStatistics> layers;  ///< of the model's; empty for those without weights
};

/// Calls see(layer, its input, its output) for each layer on each sample.
template <class See>
void ForEachMap(const Engine& engine, std::span<const float> samples_bi, const See& see) {
  const auto floats = static_cast<size_t>(engine.input_shape().elements());
  for (size_t begin = 0; begin < samples_bi.size(); begin += floats) {
    const std::span<const float> features = samples_bi.subspan(begin, floats);
    std::vector<float> in(features.begin(), features.end());
    EngineAccess::RunTraced(engine, features, [&](size_t i, std::span<const float> out) {
      see(i, std::span<const float>(in), out);
      in.assign(out.begin(), out.end());
    });
  }
}

Statistics Observe(const Model& f32, std::span<const float> samples_bi) {
  Statistics all;
  all.layers.resize(f32.layers.size());
  std::vector<LayerStatistics*> behind(f32.layers.size());  // whose `behind` a layer is
  for (size_t i = 0, front = 0; i < f32.layers.size(); ++i) {
    const Layer& layer = f32.layers[i];
    if (layer.HasWeights()) {
      front = i;
      all.layers[i].active_o.resize(static_cast<size_t>(layer.output.channels));
      all.layers[i].square_c.resize(static_cast<size_t>(layer.kernel().channels));
    } else if (layer.kind == LayerKind::kRelu || layer.kind == LayerKind::kKwta) {
      if (all.layers[front].behind > 0) behind[all.layers[front].behind] = nullptr;
      all.layers[front].behind = i;
      behind[i] = &all.layers[front];
    }
  }
  const Engine engine = EngineAccess::FromModel(f32);
  ForEachMap(engine, samples_bi, [&](size_t i, auto, std::span<const float> out) {
    if (behind[i] == nullptr) return;
    for (const float y : out) behind[i]->largest = std::max<double>(behind[i]->largest, y);
  });
  InputRange& input = all.input;
  for (const float x : samples_bi) {
    input.low = std::min<double>(input.low, x);
    input.high = std::max<double>(input.high, x);
  }
  for (int j = 0; j < kCandidates; ++j) {
    const double scale = CandidateFactor(j) * input.step(), zero = input.zero();
    for (const float x : samples_bi) {
      input.errors[j] += SquaredError(x, scale, -zero, kMaxActivation - zero);
    }
  }
  ForEachMap(
      engine, samples_bi, [&](size_t i, std::span<const float> in, std::span<const float> out) {
        LayerStatistics& own = all.layers[i];
        const size_t channels = own.square_c.size();
        if (channels > 0) {
          for (size_t e = 0; e < in.size(); ++e)
            own.square_c[e % channels] += double{in[e]} * in[e];
          own.inputs_c += static_cast<double>(in.size() / channels);
        }
        if (behind[i] == nullptr) return;
        LayerStatistics& front = *behind[i];
        for (size_t e = 0; e < out.size(); ++e) {
          if (out[e] <= 0.0f) continue;
          front.active_o[e % front.active_o.size()] += 1;
          for (int j = 0; j < kCandidates; ++j) {
            front.errors[j] += SquaredError(
                out[e], CandidateFactor(j) * front.largest / kMaxActivation, 0, kMaxActivation);
          }
        }
      });
  return all;
}

/// Row-major weights of one layer and what a choice of steps does to them.
class Weights {
 public:
  Weights(const Layer& layer, const LayerStatistics& statistics)
      : layout_(layer.kernel(), layer.packing),
        weight_op_(packed::Unpack(layout_, layer.weight_pnl, layer.owner_nr)) {
    const int64_t taps = int64_t{layout_.shape.kernel_h} * layout_.shape.kernel_w;
    for (int32_t o = 0; o < layout_.shape.outputs; ++o) {
      double largest = 0, square = 0;
      for (int64_t p = 0; p < layout_.positions; ++p) {
        const double weight = std::abs(row(o)[static_cast<size_t>(p)]);
        largest = std::max(largest, weight);
        if (weight > 0) square += statistics.square_c[static_cast<size_t>(p / taps)];
      }
      largest_o_.push_back(largest);
      // Rounding is off by up to half a step, evenly: step²/12 for each weight, times x².
      sum_error_o_.push_back(square / statistics.inputs_c / 12.0);
    }
  }

  const Layout& layout() const { return layout_; }
  std::span<const float> row(int32_t o) const {
    return std::span(weight_op_)
        .subspan(static_cast<size_t>(o * layout_.positions),
                 static_cast<size_t>(layout_.positions));
  }
  double largest(int32_t o) const { return largest_o_[static_cast<size_t>(o)]; }
  /// Mean squared error of output o's sums for steps of 1.
  double sum_error(int32_t o) const { return sum_error_o_[static_cast<size_t>(o)]; }

 private:
  Layout layout_;
  std::vector<float> weight_op_;
  std::vector<double> largest_o_, sum_error_o_;
};

/// The largest shift with |weight| ≤ 127 in steps of output_scale·2^−shift / input_scale; below 0
/// where there is none.
int LargestShift(double largest_weight, float input_scale, float output_scale) {
  if (largest_weight == 0.0) return kMaxShift;
  const double steps = kMaxWeight * output_scale / (input_scale * largest_weight);
  return std::min(std::ilogb(steps), kMaxShift);
}

double Step(int shift, float input_scale, float output_scale) {
  return std::ldexp(double{output_scale}, -shift) / input_scale;
}

float ChooseOutputScale(const Weights& weights, const LayerStatistics& statistics,
                        float input_scale) {
  double smallest_error = std::numeric_limits<double>::infinity();
  double least = 0;  // the scale at which the smallest of all shifts is 0
  float best = 0;
  for (int32_t o = 0; o < weights.layout().shape.outputs; ++o) {
    least = std::max(least, input_scale * weights.largest(o) / kMaxWeight);
  }
  for (int j = 0; j < kCandidates; ++j) {
    const auto scale = static_cast<float>(CandidateFactor(j) * statistics.largest / kMaxActivation);
    if (scale < std::max<double>(least, std::numeric_limits<float>::min())) continue;
    double error = statistics.errors[j];
    for (int32_t o = 0; o < weights.layout().shape.outputs; ++o) {
      if (weights.largest(o) == 0.0) continue;
      const double step =
          Step(LargestShift(weights.largest(o), input_scale, scale), input_scale, scale);
      error += statistics.active_o[static_cast<size_t>(o)] * weights.sum_error(o) * step * step;
    }
    if (error < smallest_error) {
      smallest_error = error;
      best = scale;
    }
  }
  if (best > 0.0f) return best;
  // No output was ever active, or activations are finer than the coarsest steps of the weights.
  const auto scale = static_cast<float>(least);
  return least == 0.0 ? 1.0f : std::nextafter(scale, std::numeric_limits<float>::infinity());
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
  const Statistics statistics = Observe(f32, calibration_bi);
  const auto storage = std::make_shared<Storage>();
  const auto last = static_cast<size_t>(packed::LastWithWeights(f32));
  Model i8 = f32;
  i8.format = packed::NumberFormat::kI8;
  i8.input_scale = static_cast<float>(CandidateFactor(SmallestError(statistics.input.errors)) *
                                      statistics.input.step());
  i8.input_zero = static_cast<int32_t>(statistics.input.zero());
  float scale = i8.input_scale;
  int32_t zero = i8.input_zero;
  for (size_t i = 0; i < f32.layers.size(); ++i) {
    if (!f32.layers[i].HasWeights()) continue;
    const Weights weights(f32.layers[i], statistics.layers[i]);
    const float output_scale =
        i == last ? 0.0f : ChooseOutputScale(weights, statistics.layers[i], scale);
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
