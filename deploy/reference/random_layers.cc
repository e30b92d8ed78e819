// SPDX-License-Identifier: Apache-2.0
// Read first: random_layers.h. Tested in: deploy/engine/engine_test.cc, reference_test.cc.
#include "deploy/reference/random_layers.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "deploy/ops/activation/op.h"

namespace bisparse {

using packed::Layer;
using packed::LayerKind;

RandomLayers::RandomLayers(uint64_t seed, const RandomModelOptions& options)
    : random_(seed, {0x6d6f'6465'6c}), options_(options) {
  model_.name = "random" + std::to_string(seed);
  model_.input = {Int(4, 11), Int(4, 11), Int(1, 3)};
  at_ = model_.input;
}

float RandomLayers::Weight() {
  if (!options_.exact) return random_.Normal();
  // A graph adds and multiplies sums: fewer of them stay exact.
  return Chance(options_.graphs ? 12 : 40) ? static_cast<float>(Int(0, 1) * 2 - 1) : 0.0f;
}

float RandomLayers::Whole(int32_t low, int32_t high) {
  return options_.exact ? static_cast<float>(Int(low, high)) : random_.Normal();
}

Layer& RandomLayers::Add(LayerKind kind, const Shape& output) {
  Layer layer;
  layer.kind = kind;
  layer.name = packed::LayerKindName(kind) + std::to_string(model_.layers.size());
  const auto index = static_cast<int32_t>(model_.layers.size());
  if (from_ != index - 1) layer.inputs = {from_};
  layer.input = at_;
  layer.output = output;
  at_ = output;
  from_ = index;
  model_.layers.push_back(std::move(layer));
  return model_.layers.back();
}

packed::Packing RandomLayers::RandomPacking(int32_t channels) {
  packed::Packing packing;
  const int32_t lanes[] = {1, 2, 4, 8, 16, 16, 16, 3};
  packing.lanes = lanes[Int(0, 7)];
  packing.set_size = Chance(30) ? 1 : Chance(15) ? Int(8, packed::kMaxSetSize) : Int(2, 7);
  if (packing.set_size == 1) return packing;
  packing.run.channels = Chance(40) ? last_group_ : Int(1, channels);
  // Four groups, as quads have them.
  if (IsI8() && Chance(50)) packing.run.channels = std::min(4 * last_group_, channels);
  packing.run.taps = static_cast<packed::RunTaps>(Int(0, 2));
  return packing;
}

void RandomLayers::FillOwners(const packed::Layout& layout, Layer& layer) {
  std::vector<uint8_t>& owner_nr =
      storage_->bytes.emplace_back(static_cast<size_t>(layout.owners()));
  for (size_t i = 0; i < owner_nr.size(); ++i) {
    owner_nr[i] =
        static_cast<uint8_t>(random_.Below(static_cast<uint32_t>(layout.packing.set_size)));
  }
  layer.owner_nr = owner_nr;
}

void RandomLayers::FillWeights(Layer& layer) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  FillOwners(layout, layer);
  if (IsI8()) return FillWeightsI8(layout, layer);
  std::vector<float>& weight_pnl = Floats(layout.slots());
  layout.ForEachSlot(layer.owner_nr, [&](int64_t, int32_t, int32_t, int64_t, int64_t slot) {
    weight_pnl[static_cast<size_t>(slot)] = Weight();
  });
  std::vector<float>& bias_o = Floats(layout.outputs_padded());
  for (int64_t o = 0; o < layout.shape.outputs; ++o) {
    bias_o[static_cast<size_t>(o)] = Whole(-2, 2);
  }
  layer.weight_pnl = weight_pnl;
  layer.bias_o = bias_o;
}

/// Weights, and biases that the zero of the network's input is part of (of a graph it is added later).
void RandomLayers::FillWeightsI8(const packed::Layout& layout, Layer& layer) {
  const bool first = storage_->weights_i8.empty() && !options_.graphs;
  const int32_t kind = Int(0, 3), most = Chance(50) ? 127 : packed::kNarrowWeight;
  const auto weight = [&]() -> int32_t {
    switch (kind) {
      case 0:
        return Int(-most, most);
      case 1:
        return Int(-8, 8);
      case 2:
        return most * (2 * Int(0, 1) - 1);
      default:
        return Chance(40) ? Int(-most, most) : 0;
    }
  };
  const double deviation[] = {73, 5, 127, 46};  // of each kind's weights
  constexpr double kActive = 100;               // root mean square of what is not zero, about
  sum_deviation_ = deviation[kind] * most / 127 * kActive *
                   std::sqrt(active_ * static_cast<double>(layout.positions) /
                             static_cast<double>(layer.packing.set_size));
  std::vector<int8_t>& weight_pnl =
      storage_->weights_i8.emplace_back(static_cast<size_t>(layout.slots()));
  std::vector<int32_t>& bias_o =
      storage_->biases_i32.emplace_back(static_cast<size_t>(layout.outputs_padded()));
  const auto largest_bias = static_cast<int32_t>(sum_deviation_);
  for (int64_t o = 0; o < layout.shape.outputs; ++o) {
    bias_o[static_cast<size_t>(o)] = Int(-largest_bias, largest_bias);
  }
  layout.ForEachSlot(layer.owner_nr, [&](int64_t, int32_t, int32_t, int64_t o, int64_t slot) {
    int8_t& w = weight_pnl[static_cast<size_t>(slot)];
    w = static_cast<int8_t>(weight());
    if (first) bias_o[static_cast<size_t>(o)] -= model_.input_zero * w;
  });
  layer.weight_i8_pnl = weight_pnl;
  layer.bias_i32_o = bias_o;
  active_ = 0.5;
}

void RandomLayers::Conv() {
  const int32_t longest = Chance(25) ? 7 : 3;
  packed::Window w{.kernel_h = Int(1, longest),
                   .kernel_w = Int(1, longest),
                   .stride_h = Int(1, 2),
                   .stride_w = Int(1, 2),
                   .pad_h = Int(0, 2),
                   .pad_w = Int(0, 2)};
  if (Chance(15)) {
    w.dilation_h = Int(1, 3);
    w.dilation_w = Int(1, 3);
  }
  const bool quads = options_.quads && IsI8() && Chance(40);
  if (quads) {
    w.kernel_w = Chance(40) ? 1 : 1 + 2 * Int(0, 2);
    w.stride_h = w.stride_w = 1;
  }
  while (packed::WindowOutput(at_, w, 1).height < 1) ++w.pad_h;
  while (packed::WindowOutput(at_, w, 1).width < 1) ++w.pad_w;
  if (Chance(20)) {
    Layer& layer = Add(LayerKind::kDepthwiseConv2d, packed::WindowOutput(at_, w, at_.channels));
    layer.window = w;
    layer.packing.lanes = Int(1, 16);
    return FillWeights(layer);
  }
  packed::Packing packing = RandomPacking(at_.channels);
  if (quads && packing.set_size > 1) {
    packing.lanes = 8 * Int(1, 2);
    packing.run = {.channels = std::min((Chance(50) ? 4 : 1) * last_group_, at_.channels),
                   .taps = Chance(70) ? packed::RunTaps::kRow : packed::RunTaps::kAll};
  }
  int32_t outputs = Int(1, 4) * Int(1, 9);
  const bool sets = quads && packing.set_size > 1 && packing.set_size < 5 && w.kernel_w == 1;
  if (IsI8() && Chance(40)) outputs = 16 * Int(1, 4);  // groups of whole registers
  if (sets) {  // owners of whole quads, and as many of them as that kernel wants
    packing.lanes = 16;
    packing.run.channels = std::min(4 * last_group_, at_.channels);
    outputs = 64 * packing.set_size - Int(0, 1) * Int(0, 15);
    const int32_t quads_of_row = (at_.channels + 3) / 4;
    w.kernel_h = std::max(w.kernel_h, (7 + quads_of_row) / quads_of_row);
    while (packed::WindowOutput(at_, w, 1).height < 1) ++w.pad_h;
  }
  if (at_.elements() < 2000 && Chance(8)) outputs = Int(64, 512);
  Layer& layer = Add(LayerKind::kConv2d, packed::WindowOutput(at_, w, outputs));
  layer.window = w;
  layer.packing = packing;
  FillWeights(layer);
  // What packed convolutions in f32 can do too.
  if (!IsI8() && packing.set_size > 1 && std::min(at_.height, at_.width) > 1 && Chance(30)) {
    const packed::Window two{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
    Add(LayerKind::kMaxPool, packed::WindowOutput(at_, two, at_.channels)).window = two;
  }
}

void RandomLayers::Linear() {
  const packed::Packing packing = RandomPacking(static_cast<int32_t>(at_.elements()));
  Layer& layer = Add(LayerKind::kLinear, {1, 1, Int(1, Chance(10) ? 600 : 40)});
  layer.packing = packing;
  FillWeights(layer);
}

void RandomLayers::Flatten() {
  Add(LayerKind::kFlatten, {1, 1, static_cast<int32_t>(at_.elements())});
}

void RandomLayers::Affine() {
  Layer& layer = Add(LayerKind::kAffine, at_);
  std::vector<float>& scale = Floats(at_.channels);
  std::vector<float>& shift = Floats(at_.channels);
  for (float& x : scale) x = Whole(-1, 1);
  for (float& x : shift) x = Whole(-2, 2);
  layer.weight_pnl = scale;
  layer.bias_o = shift;
}

void RandomLayers::Pool(bool max) {
  packed::Window w{
      .kernel_h = Int(1, 2), .kernel_w = Int(1, 2), .stride_h = Int(1, 2), .stride_w = Int(1, 2)};
  // Counts where there is padding are 1, 2 or 4 too.
  if (w.kernel_h == 2) w.pad_h = Int(0, 1);
  if (w.kernel_w == 2) w.pad_w = Int(0, 1);
  // The one that neighbours can do.
  if (Chance(60)) w = {.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
  const Shape output = packed::WindowOutput(at_, w, at_.channels);
  if (output.height < 1 || output.width < 1) return;
  Add(max ? LayerKind::kMaxPool : LayerKind::kAvgPool, output).window = w;
}

void RandomLayers::Smooth() {
  const std::span<const packed::Activation> all = packed::Activations();
  const auto i = static_cast<size_t>(Int(0, static_cast<int32_t>(all.size())));
  if (i == all.size()) return LayerNorm();
  Add(all[i].kind, at_);
}

void RandomLayers::LayerNorm() {
  Layer& layer = Add(LayerKind::kLayerNorm, at_);
  std::vector<float>& gain = Floats(at_.channels);
  std::vector<float>& bias = Floats(at_.channels);
  for (float& x : gain) x = 0.5f + random_.Uniform();
  for (float& x : bias) x = random_.Normal();
  layer.weight_pnl = gain;
  layer.bias_o = bias;
  layer.epsilon = Chance(50) ? 1e-5f : 0.5f;
}

void RandomLayers::FillSteps(Layer& layer, const packed::Quantisation& input) {
  const packed::Activation* const activation = packed::FindActivation(layer.kind);
  double low = -4, high = 4;  // most of what is normal, scaled and shifted
  if (activation != nullptr) {
    low = high = 0;
    for (int32_t q = 0; q < packed::kTableSize; ++q) {
      const double y = activation->f(double{input.scale} * (q - input.zero));
      low = std::min(low, y);
      high = std::max(high, y);
    }
  }
  const double steps = (high - low) / 254 / model_.input_scale;
  layer.output_scale =
      std::ldexp(model_.input_scale, static_cast<int>(std::ceil(std::log2(steps))));
  layer.output_zero = static_cast<int32_t>(std::ceil(-low / double{layer.output_scale}));
  if (activation == nullptr) return;
  layer.table = storage_->bytes.emplace_back(
      packed::ActivationTable(*activation, input, {layer.output_scale, layer.output_zero}));
}

int32_t RandomLayers::Divisor(int32_t n) {
  int32_t d = Int(1, n);
  while (n % d != 0) --d;
  return d;
}

void RandomLayers::Kwta() {
  packed::Kwta k;
  k.groups = Divisor(at_.channels);
  k.chunk = Chance(60) ? 1 : Divisor(at_.channels / k.groups);
  k.scope = Chance(50) ? packed::KwtaScope::kLocal : packed::KwtaScope::kGlobal;
  // One winner in each of many groups, as quads have them.
  if (IsI8() && at_.channels % 16 == 0 && Chance(30))
    k = {.groups = at_.channels / (4 * Int(1, 2))};
  int32_t units = at_.channels / k.groups / k.chunk;
  last_group_ = at_.channels / k.groups;
  if (k.scope == packed::KwtaScope::kGlobal) units *= at_.height * at_.width;
  k.winners = k.groups * (Chance(60) ? 1 : Int(1, units));
  active_ = std::min(active_, static_cast<double>(k.winners) / (k.groups * units));
  Add(LayerKind::kKwta, at_).kwta = k;
}

}  // namespace bisparse
