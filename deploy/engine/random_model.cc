// SPDX-License-Identifier: Apache-2.0
// Read first: random_model.h. Tested in: engine_test.cc.
#include "deploy/engine/random_model.h"

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
  std::deque<std::vector<uint8_t>> owners;
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

 private:
  int32_t Int(int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random_.Below(static_cast<uint32_t>(high - low + 1)));
  }
  bool Chance(int32_t per_cent) { return Int(1, 100) <= per_cent; }
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
    packing.set_size = Chance(30) ? 1 : Int(2, 7);
    if (packing.set_size == 1) return packing;
    packing.run.channels = Chance(40) ? last_group_ : Int(1, channels);
    packing.run.taps = static_cast<packed::RunTaps>(Int(0, 2));
    return packing;
  }

  void FillWeights(Layer& layer) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    std::vector<uint8_t>& owner_nr =
        storage_->owners.emplace_back(static_cast<size_t>(layout.owners()));
    for (size_t i = 0; i < owner_nr.size(); ++i) {
      owner_nr[i] =
          static_cast<uint8_t>(random_.Below(static_cast<uint32_t>(layout.packing.set_size)));
    }
    std::vector<float>& weight_pnl = Floats(layout.slots());
    for (int64_t p = 0; p < layout.positions; ++p) {
      for (int32_t n = 0; n < layout.sets; ++n) {
        const int32_t s =
            owner_nr.empty() ? 0 : owner_nr[static_cast<size_t>(n * layout.runs + layout.RunOf(p))];
        for (int32_t l = 0; l < layer.packing.lanes; ++l) {
          if (layout.Output(n, s, l) >= layout.shape.outputs) continue;
          weight_pnl[static_cast<size_t>(layout.Slot(p, n, l))] = Weight();
        }
      }
    }
    std::vector<float>& bias_o = Floats(layout.outputs_padded());
    for (int64_t o = 0; o < layout.shape.outputs; ++o) {
      bias_o[static_cast<size_t>(o)] = Whole(-2, 2);
    }
    layer.owner_nr = owner_nr;
    layer.weight_pnl = weight_pnl;
    layer.bias_o = bias_o;
  }

  void Conv() {
    packed::Window w{.kernel_h = Int(1, 3),
                     .kernel_w = Int(1, 3),
                     .stride_h = Int(1, 2),
                     .stride_w = Int(1, 2),
                     .pad_h = Int(0, 2),
                     .pad_w = Int(0, 2)};
    while (packed::WindowOutput(at_, w, 1).height < 1) ++w.pad_h;
    while (packed::WindowOutput(at_, w, 1).width < 1) ++w.pad_w;
    const packed::Packing packing = RandomPacking(at_.channels);
    Layer& layer = Add(LayerKind::kConv2d, packed::WindowOutput(at_, w, Int(1, 4) * Int(1, 9)));
    layer.window = w;
    layer.packing = packing;
    FillWeights(layer);
  }

  void Linear() {
    const packed::Packing packing = RandomPacking(static_cast<int32_t>(at_.elements()));
    Layer& layer = Add(LayerKind::kLinear, {1, 1, Int(1, 40)});
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

  void Pool() {
    const bool max = Chance(60);
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
    Add(LayerKind::kKwta, at_).kwta = k;
  }

  void Decorate() {
    if (Chance(20)) Affine();
    if (Chance(40)) Add(LayerKind::kRelu, at_);
    if (Chance(50)) Pool();
    if (Chance(80)) Kwta();
    if (Chance(10)) Kwta();
    if (Chance(10)) Add(LayerKind::kRelu, at_);
    if (Chance(10)) Affine();
    if (Chance(10)) Pool();
  }

  CounterRandom random_;
  const RandomModelOptions options_;
  packed::Model model_;
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  Shape at_;
  int32_t last_group_ = 1;
};

}  // namespace

packed::Model MakeRandomModel(uint64_t seed, const RandomModelOptions& options) {
  return Builder(seed, options).Build();
}

}  // namespace bisparse
