// SPDX-License-Identifier: Apache-2.0
// Read first: random_model.h. Tested in: engine_test.cc, reference_test.cc.
#include "deploy/engine/random_model.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "deploy/base/random.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

/// What a model's spans point into; deques so that growing moves nothing.
struct Storage {
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<uint8_t>> bytes;  // owners, shifts
  std::deque<std::vector<int8_t>> weights_i8;
  std::deque<std::vector<int32_t>> biases_i32;
};

class Builder {
 public:
  Builder(uint64_t seed, const RandomModelOptions& options)
      : random_(seed, {0x6d6f'6465'6c}), options_(options) {
    model_.name = "random" + std::to_string(seed);
    model_.input = {Int(4, 11), Int(4, 11), Int(1, 3)};
    at_ = model_.input;
  }

  packed::Model Build() {
    const int32_t convs = Int(0, 2);
    for (int32_t i = 0; i < convs; ++i) {
      Conv();
      Decorate();
    }
    if (Chance(50)) Flatten();
    const int32_t linears = convs == 2 ? 1 : Int(1, 2);
    for (int32_t i = 0; i < linears; ++i) {
      Linear();
      if (i + 1 < linears || Chance(20)) Decorate();
    }
    model_.storage = storage_;
    return std::move(model_);
  }

  packed::Model BuildI8() {
    model_.format = packed::NumberFormat::kI8;
    model_.input_scale = (1.0f + 2.0f * random_.Uniform()) / 128.0f;
    model_.input_zero = Chance(20) ? 255 * Int(0, 1) : Int(90, 160);
    if (Chance(15)) {
      Kwta();  // on the input
      model_.input_zero = 0;
    } else if (Chance(15)) {
      Pool(Chance(60));
    }
    const int32_t convs = Int(0, 2), linears = Int(convs == 0 ? 1 : 0, 2);
    for (int32_t i = 0; i < convs; ++i) {
      Conv();
      FinishI8(i + 1 == convs, i + 1 == convs + linears);
    }
    for (int32_t i = 0; i < linears; ++i) {
      Linear();
      FinishI8(true, i + 1 == linears);
    }
    model_.storage = storage_;
    return std::move(model_);
  }

 private:
  int32_t Int(int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random_.Below(static_cast<uint32_t>(high - low + 1)));
  }
  bool Chance(int32_t per_cent) { return Int(1, 100) <= per_cent; }
  bool IsI8() const { return model_.format == packed::NumberFormat::kI8; }
  float Weight() {
    if (!options_.exact) return random_.Normal();
    return Chance(40) ? static_cast<float>(Int(0, 1) * 2 - 1) : 0.0f;
  }
  float Whole(int32_t low, int32_t high) {
    return options_.exact ? static_cast<float>(Int(low, high)) : random_.Normal();
  }

  Layer& Add(LayerKind kind, const Shape& output) {
    Layer layer;
    layer.kind = kind;
    layer.name = packed::LayerKindName(kind) + std::to_string(model_.layers.size());
    layer.input = at_;
    layer.output = output;
    at_ = output;
    model_.layers.push_back(std::move(layer));
    return model_.layers.back();
  }
  std::vector<float>& Floats(int64_t n) {
    return storage_->floats.emplace_back(static_cast<size_t>(n));
  }

  /// Some layers are laid out so that owners do not depend on which channel of a group wins.
  packed::Packing RandomPacking(int32_t channels) {
    packed::Packing packing;
    const int32_t lanes[] = {1, 2, 4, 8, 16, 16, 3};
    packing.lanes = lanes[Int(0, 6)];
    packing.set_size = Chance(30) ? 1 : Chance(15) ? Int(8, packed::kMaxSetSize) : Int(2, 7);
    if (packing.set_size == 1) return packing;
    packing.run.channels = Chance(40) ? last_group_ : Int(1, channels);
    // Four groups, as quads have them.
    if (IsI8() && Chance(50)) packing.run.channels = std::min(4 * last_group_, channels);
    packing.run.taps = static_cast<packed::RunTaps>(Int(0, 2));
    return packing;
  }

  void FillOwners(const packed::Layout& layout, Layer& layer) {
    std::vector<uint8_t>& owner_nr =
        storage_->bytes.emplace_back(static_cast<size_t>(layout.owners()));
    for (size_t i = 0; i < owner_nr.size(); ++i) {
      owner_nr[i] =
          static_cast<uint8_t>(random_.Below(static_cast<uint32_t>(layout.packing.set_size)));
    }
    layer.owner_nr = owner_nr;
  }

  /// Calls set(slot, output) for each slot of a real kernel.
  template <class Set>
  void ForEachSlot(const packed::Layout& layout, const Layer& layer, const Set& set) {
    for (int64_t p = 0; p < layout.positions; ++p) {
      for (int32_t n = 0; n < layout.sets; ++n) {
        const auto run = static_cast<size_t>(n * layout.runs + layout.RunOf(p));
        const int32_t s = layer.owner_nr.empty() ? 0 : layer.owner_nr[run];
        for (int32_t l = 0; l < layer.packing.lanes; ++l) {
          const int64_t o = layout.Output(n, s, l);
          if (o >= layout.shape.outputs) continue;
          set(static_cast<size_t>(layout.Slot(p, n, l)), static_cast<size_t>(o));
        }
      }
    }
  }

  void FillWeights(Layer& layer) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    FillOwners(layout, layer);
    if (IsI8()) return FillWeightsI8(layout, layer);
    std::vector<float>& weight_pnl = Floats(layout.slots());
    ForEachSlot(layout, layer, [&](size_t slot, size_t) { weight_pnl[slot] = Weight(); });
    std::vector<float>& bias_o = Floats(layout.outputs_padded());
    for (int64_t o = 0; o < layout.shape.outputs; ++o) {
      bias_o[static_cast<size_t>(o)] = Whole(-2, 2);
    }
    layer.weight_pnl = weight_pnl;
    layer.bias_o = bias_o;
  }

  /// Weights and biases; FinishI8 adds what turns sums into outputs.
  void FillWeightsI8(const packed::Layout& layout, Layer& layer) {
    const bool first = storage_->weights_i8.empty();
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
    ForEachSlot(layout, layer, [&](size_t slot, size_t o) {
      weight_pnl[slot] = static_cast<int8_t>(weight());
      if (first) bias_o[o] -= model_.input_zero * weight_pnl[slot];
    });
    layer.weight_i8_pnl = weight_pnl;
    layer.bias_i32_o = bias_o;
    active_ = 0.5;
  }

  /// Behind a layer with weights of an int8 model: its shifts and what may follow, or its scales.
  void FinishI8(bool may_flatten, bool last) {
    Layer& layer = model_.layers.back();
    const size_t outputs_padded = layer.bias_i32_o.size();
    if (last) {
      std::vector<float>& scale_o = Floats(static_cast<int64_t>(outputs_padded));
      for (float& scale : scale_o) scale = (0.5f + random_.Uniform()) / 4096.0f;
      layer.scale_o = scale_o;
      if (Chance(20)) Flatten();
      return;
    }
    std::vector<uint8_t>& shift_o = storage_->bytes.emplace_back(outputs_padded);
    const auto usual = static_cast<int32_t>(std::log2(sum_deviation_ / 100.0));
    for (uint8_t& shift : shift_o) {
      shift = static_cast<uint8_t>(std::clamp(usual + Int(-1, 1), 0, 30));
      if (Chance(3)) shift = static_cast<uint8_t>(30 * Int(0, 1));
    }
    layer.shift_o = shift_o;
    layer.output_scale = (0.5f + random_.Uniform()) / 128.0f;
    if (Chance(30)) Pool(true);
    if (may_flatten && Chance(15)) Flatten();
    if (Chance(15)) Pool(true);
    if (Chance(50)) Add(LayerKind::kRelu, at_);
    if (model_.layers.back().kind != LayerKind::kRelu || Chance(50)) Kwta();
    if (Chance(30)) Pool(Chance(60));
    if (may_flatten && Chance(15)) Flatten();
    if (Chance(15)) Kwta();
    if (Chance(10)) Add(LayerKind::kRelu, at_);
  }

  void Conv() {
    const int32_t longest = Chance(25) ? 7 : 3;
    packed::Window w{.kernel_h = Int(1, longest),
                     .kernel_w = Int(1, longest),
                     .stride_h = Int(1, 2),
                     .stride_w = Int(1, 2),
                     .pad_h = Int(0, 2),
                     .pad_w = Int(0, 2)};
    const bool quads = options_.quads && IsI8() && Chance(40);
    if (quads) {
      w.kernel_w = 1 + 2 * Int(0, 2);
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
    if (sets) {
      packing.lanes = 16;
      outputs = 64 * packing.set_size - Int(0, 1) * Int(0, 15);
    }
    if (at_.elements() < 2000 && Chance(8)) outputs = Int(64, 512);
    Layer& layer = Add(LayerKind::kConv2d, packed::WindowOutput(at_, w, outputs));
    layer.window = w;
    layer.packing = packing;
    FillWeights(layer);
  }

  void Linear() {
    const packed::Packing packing = RandomPacking(static_cast<int32_t>(at_.elements()));
    Layer& layer = Add(LayerKind::kLinear, {1, 1, Int(1, Chance(10) ? 600 : 40)});
    layer.packing = packing;
    FillWeights(layer);
  }

  void Flatten() { Add(LayerKind::kFlatten, {1, 1, static_cast<int32_t>(at_.elements())}); }

  void Affine() {
    Layer& layer = Add(LayerKind::kAffine, at_);
    std::vector<float>& scale = Floats(at_.channels);
    std::vector<float>& shift = Floats(at_.channels);
    for (float& x : scale) x = Whole(-1, 1);
    for (float& x : shift) x = Whole(-2, 2);
    layer.weight_pnl = scale;
    layer.bias_o = shift;
  }

  void Pool(bool max) {
    packed::Window w{
        .kernel_h = Int(1, 2), .kernel_w = Int(1, 2), .stride_h = Int(1, 2), .stride_w = Int(1, 2)};
    // Counts behind padding are 1, 2 or 4 too.
    if (w.kernel_h == 2) w.pad_h = Int(0, 1);
    if (w.kernel_w == 2) w.pad_w = Int(0, 1);
    const Shape output = packed::WindowOutput(at_, w, at_.channels);
    if (output.height < 1 || output.width < 1) return;
    Add(max ? LayerKind::kMaxPool : LayerKind::kAvgPool, output).window = w;
  }

  int32_t Divisor(int32_t n) {
    int32_t d = Int(1, n);
    while (n % d != 0) --d;
    return d;
  }

  void Kwta() {
    packed::Kwta k;
    k.groups = Divisor(at_.channels);
    k.chunk = Chance(60) ? 1 : Divisor(at_.channels / k.groups);
    k.scope = Chance(50) ? packed::KwtaScope::kLocal : packed::KwtaScope::kGlobal;
    int32_t units = at_.channels / k.groups / k.chunk;
    last_group_ = at_.channels / k.groups;
    if (k.scope == packed::KwtaScope::kGlobal) units *= at_.height * at_.width;
    k.winners = k.groups * (Chance(50) ? 1 : Int(1, units));
    active_ = std::min(active_, static_cast<double>(k.winners) / (k.groups * units));
    Add(LayerKind::kKwta, at_).kwta = k;
  }

  void Decorate() {
    if (Chance(20)) Affine();
    if (Chance(40)) Add(LayerKind::kRelu, at_);
    if (Chance(50)) Pool(Chance(60));
    if (Chance(80)) Kwta();
    if (Chance(10)) Kwta();
    if (Chance(10)) Add(LayerKind::kRelu, at_);
    if (Chance(10)) Affine();
    if (Chance(10)) Pool(Chance(60));
  }

  CounterRandom random_;
  const RandomModelOptions options_;
  packed::Model model_;
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  Shape at_;
  int32_t last_group_ = 1;
  double active_ = 1.0;         // int8: the fraction of the map that is not zero, about
  double sum_deviation_ = 0.0;  // int8: of the last layer with weights
};

}  // namespace

packed::Model MakeRandomModel(uint64_t seed, const RandomModelOptions& options) {
  return Builder(seed, options).Build();
}

packed::Model MakeRandomI8Model(uint64_t seed, const RandomModelOptions& options) {
  packed::Model model = Builder(seed, options).BuildI8();
  // Some begin with an affine layer, drawn apart: the rest of the network stays what it was.
  if (seed % 8 != 3) return model;
  struct Affine {
    std::vector<float> scale_c, shift_c;
    std::shared_ptr<const void> rest;
  };
  const auto affine = std::make_shared<Affine>();
  affine->rest = model.storage;
  CounterRandom random(seed, {0x616666});
  for (int32_t c = 0; c < model.input.channels; ++c) {
    affine->scale_c.push_back(0.5f + random.Uniform());
    affine->shift_c.push_back(0.5f * random.Normal());
  }
  packed::Layer layer{.kind = LayerKind::kAffine, .name = "affine_of_input"};
  layer.input = layer.output = model.input;
  layer.weight_pnl = affine->scale_c;
  layer.bias_o = affine->shift_c;
  model.layers.insert(model.layers.begin(), layer);
  model.storage = affine;
  return model;
}

}  // namespace bisparse
