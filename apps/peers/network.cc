// SPDX-License-Identifier: Apache-2.0
// Read first: network.h. Tested in: network_test.cc.
#include "apps/peers/network.h"

#include <cmath>
#include <deque>
#include <memory>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/packed/pack.h"

namespace bisparse::peers {
namespace {

using packed::Layer;
using packed::LayerKind;

/// The floats of a dequantised model, and the storage of the model that it was made from.
struct RealStorage {
  std::deque<std::vector<float>> floats;
  std::shared_ptr<const void> model;
};

/// Real value of one step of output o's sum, and of the map behind the layer (1 = logits).
double SumScale(const Layer& layer, int64_t o) {
  const auto at = static_cast<size_t>(o);
  if (layer.shift_o.empty()) return layer.scale_o[at];
  return std::ldexp(layer.output_scale, -layer.shift_o[at]);
}

/// w, b → real numbers; `input_scale` and `input_zero` are of the layer's input.
void DequantiseLayer(Layer& layer, double input_scale, int32_t input_zero, RealStorage& storage) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  auto& weight_pnl = storage.floats.emplace_back(static_cast<size_t>(layout.slots()));
  auto& bias_o = storage.floats.emplace_back(static_cast<size_t>(layout.outputs_padded()));
  std::vector<int64_t> weight_sum_o(bias_o.size());
  layout.ForEachSlot(layer.owner_nr, [&](int64_t, int32_t, int32_t, int64_t o, int64_t slot_index) {
    const auto slot = static_cast<size_t>(slot_index);
    const int8_t weight = layer.weight_i8_pnl[slot];
    weight_pnl[slot] = static_cast<float>(weight * SumScale(layer, o) / input_scale);
    weight_sum_o[static_cast<size_t>(o)] += weight;
  });
  for (int64_t o = 0; o < layout.shape.outputs; ++o) {
    const auto at = static_cast<size_t>(o);
    const auto bias = static_cast<double>(layer.bias_i32_o[at] + input_zero * weight_sum_o[at]);
    bias_o[at] = static_cast<float>(bias * SumScale(layer, o));
  }
  layer.weight_pnl = weight_pnl;
  layer.bias_o = bias_o;
}

bool IsWindowed(const Layer& layer) {
  return layer.IsConvolution() || layer.kind == LayerKind::kMaxPool ||
         layer.kind == LayerKind::kAvgPool;
}

/// Folds y = scale·x + shift behind a convolution or linear into its weights.
void FoldAffine(DenseLayer& layer, std::span<const float> scale_c, std::span<const float> shift_c) {
  const size_t positions = layer.weight_op.size() / scale_c.size();
  for (size_t o = 0; o < scale_c.size(); ++o) {
    for (size_t p = 0; p < positions; ++p) layer.weight_op[o * positions + p] *= scale_c[o];
    layer.bias_o[o] = layer.bias_o[o] * scale_c[o] + shift_c[o];
  }
}

/// Weights of `layer` in the order that `dense`, whose input is set, wants.
void FillWeights(const Layer& layer, DenseLayer& dense) {
  if (layer.HasWeights()) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    dense.weight_op = packed::Unpack(layout, layer.weight_pnl, layer.owner_nr);
    dense.bias_o.assign(layer.bias_o.begin(), layer.bias_o.begin() + layout.shape.outputs);
    // A convolution's positions are channels first already.
    if (layer.kind == LayerKind::kLinear) {
      dense.weight_op = ChannelsFirst(dense.weight_op, dense.input);
    }
  } else if (layer.kind == LayerKind::kAffine) {
    dense.weight_op.assign(layer.weight_pnl.begin(), layer.weight_pnl.end());
    dense.bias_o.assign(layer.bias_o.begin(), layer.bias_o.end());
    if (!dense.flat) return;
    dense.weight_op = ChannelsFirst(dense.weight_op, dense.input);
    dense.bias_o = ChannelsFirst(dense.bias_o, dense.input);
  }
}

/// ReLU behind `layers`: nothing to do, or a flag of the layer before the max-pools (for
/// max(relu(x)) = relu(max(x))); false if it needs a layer of its own.
bool AbsorbRelu(std::vector<DenseLayer>& layers) {
  if (layers.empty()) return false;
  if (layers.back().nonnegative) return true;
  size_t i = layers.size() - 1;
  while (i > 0 && layers[i].kind == LayerKind::kMaxPool) --i;
  DenseLayer& target = layers[i];
  if (!target.HasWeights() && target.kind != LayerKind::kAffine) return false;
  target.relu = true;
  for (; i < layers.size(); ++i) layers[i].nonnegative = true;
  return true;
}

}  // namespace

std::vector<float> ChannelsFirst(std::span<const float> x_byxc, const Shape& shape) {
  const auto channels = static_cast<size_t>(shape.channels);
  const size_t positions = static_cast<size_t>(shape.height) * static_cast<size_t>(shape.width);
  const size_t elements = channels * positions;
  std::vector<float> x_bcyx(x_byxc.size());
  for (size_t i = 0; i < x_byxc.size(); ++i) {
    const size_t b = i / elements, q = i % elements / channels, c = i % channels;
    x_bcyx[b * elements + c * positions + q] = x_byxc[i];
  }
  return x_bcyx;
}

packed::Model Dequantise(const packed::Model& model) {
  if (model.format == packed::NumberFormat::kF32) return model;
  packed::Model real = model;
  auto storage = std::make_shared<RealStorage>();
  storage->model = model.storage;
  real.format = packed::NumberFormat::kF32;
  real.input_scale = 0;
  real.input_zero = 0;
  real.layers.clear();
  double scale = model.input_scale;
  int32_t zero = model.input_zero;
  for (Layer layer : model.layers) {
    const bool hidden = layer.HasWeights() && !layer.shift_o.empty();
    const double output_scale = layer.output_scale;
    if (layer.HasWeights()) DequantiseLayer(layer, scale, zero, *storage);
    layer.weight_i8_pnl = {};
    layer.bias_i32_o = {};
    layer.shift_o = {};
    layer.scale_o = {};
    layer.output_scale = 0;
    real.layers.push_back(layer);
    if (!hidden) continue;
    scale = output_scale;
    zero = 0;
    Layer relu;
    relu.kind = LayerKind::kRelu;
    relu.name = layer.name + ".clamp";
    relu.input = relu.output = layer.output;
    real.layers.push_back(std::move(relu));
  }
  real.storage = std::move(storage);
  return real;
}

packed::Model WithReluForKwta(packed::Model model) {
  for (Layer& layer : model.layers) {
    if (layer.kind != LayerKind::kKwta) continue;
    layer.kind = LayerKind::kRelu;
    layer.kwta = {};
  }
  return model;
}

DenseNetwork MakeDenseNetwork(const packed::Model& model) {
  BISPARSE_CHECK(model.format == packed::NumberFormat::kF32);
  DenseNetwork network{.name = model.name, .input = model.input, .layers = {}};
  std::vector<DenseLayer>& layers = network.layers;
  Shape map = model.input;  // before any flatten
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    const bool flat = layer.input != map;
    if (flat && IsWindowed(layer)) {
      Fail(ErrorKind::kConfiguration, "layer '" + layer.name + "'",
           "{} behind flatten has no counterpart in other engines (hint: put it before flatten)",
           packed::LayerKindName(layer.kind));
    }
    if (layer.kind == LayerKind::kFlatten) continue;
    if (layer.kind == LayerKind::kRelu && AbsorbRelu(layers)) continue;
    const bool weights_before =
        !layers.empty() && !layers.back().relu && layers.back().HasWeights();
    if (layer.kind == LayerKind::kAffine && weights_before && !flat) {
      FoldAffine(layers.back(), layer.weight_pnl, layer.bias_o);
      layers.back().source = i;
      continue;
    }
    DenseLayer& dense = layers.emplace_back();
    dense.kind = layer.kind;
    dense.name = layer.name;
    dense.input = map;
    if (IsWindowed(layer) || layer.HasWeights()) map = layer.output;
    dense.output = map;
    dense.window = layer.window;
    dense.source = i;
    dense.kwta = layer.kwta;
    dense.flat = flat;
    const bool keeps_sign = layer.kind == LayerKind::kMaxPool || layer.kind == LayerKind::kAvgPool;
    dense.nonnegative = layer.kind == LayerKind::kKwta || layer.kind == LayerKind::kRelu ||
                        (keeps_sign && layers.size() > 1 && layers[layers.size() - 2].nonnegative);
    FillWeights(layer, dense);
  }
  return network;
}

}  // namespace bisparse::peers
