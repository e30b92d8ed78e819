// SPDX-License-Identifier: Apache-2.0
// Read first: random_model.h. Graphs: random_graph.cc. Tested in: deploy/engine/engine_test.cc, reference_test.cc.
#include "deploy/reference/random_model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "deploy/reference/random_graph.h"
#include "deploy/reference/random_layers.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

class ChainBuilder : RandomLayers {
 public:
  ChainBuilder(uint64_t seed, const RandomModelOptions& options) : RandomLayers(seed, options) {}

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
  /// After a layer with weights of an int8 model: its shifts and what may follow, or its scales.
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
    const float output_scale = layer.output_scale = (0.5f + random_.Uniform()) / 128.0f;
    if (Chance(30)) Pool(true);
    if (may_flatten && Chance(15)) Flatten();
    if (Chance(15)) Pool(true);
    if (Chance(50)) Add(LayerKind::kRelu, at_);
    if (model_.layers.back().kind != LayerKind::kRelu || Chance(50)) Kwta();
    if (Chance(30)) Pool(Chance(60));
    if (may_flatten && Chance(15)) Flatten();
    if (Chance(15)) Kwta();
    if (Chance(10)) Add(LayerKind::kRelu, at_);
    if (MayBeSmooth() && Chance(15)) {
      Smooth();
      // Between the layer with weights and this one relu and kwta alone change the steps; there are no negative ones.
      FillSteps(model_.layers.back(), {output_scale, 0});
    }
  }

  void Decorate() {
    if (MayBeSmooth() && Chance(20)) Smooth();
    if (Chance(20)) Affine();
    if (Chance(40)) Add(LayerKind::kRelu, at_);
    if (Chance(50)) Pool(Chance(60));
    if (Chance(80)) Kwta();
    if (Chance(10)) Kwta();
    if (Chance(10)) Add(LayerKind::kRelu, at_);
    if (Chance(10)) Affine();
    if (Chance(10)) Pool(Chance(60));
  }
};

}  // namespace

packed::Model MakeRandomModel(uint64_t seed, const RandomModelOptions& options) {
  return options.graphs ? MakeRandomGraph(seed, options) : ChainBuilder(seed, options).Build();
}

packed::Model MakeRandomI8Model(uint64_t seed, const RandomModelOptions& options) {
  packed::Model model =
      options.graphs ? MakeRandomI8Graph(seed, options) : ChainBuilder(seed, options).BuildI8();
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
  for (Layer& other : model.layers) {
    for (int32_t& value : other.inputs) ++value;  // of the input it is the affine layer's
  }
  model.layers.insert(model.layers.begin(), layer);
  model.storage = affine;
  return model;
}

}  // namespace bisparse
