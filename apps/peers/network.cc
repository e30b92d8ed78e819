// SPDX-License-Identifier: Apache-2.0
// Read first: network.h. Tested in: network_test.cc.
#include "apps/peers/network.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/packed/graph.h"
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

/// Real value of one step of output o's sum, and of the layer's map (1 = logits).
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

/// Folds y = scale·x + shift after a convolution or linear into its weights.
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
  } else if (layer.kind == LayerKind::kAffine || layer.kind == LayerKind::kLayerNorm) {
    dense.weight_op.assign(layer.weight_pnl.begin(), layer.weight_pnl.end());
    dense.bias_o.assign(layer.bias_o.begin(), layer.bias_o.end());
    if (!dense.flat) return;
    dense.weight_op = ChannelsFirst(dense.weight_op, dense.input);
    dense.bias_o = ChannelsFirst(dense.bias_o, dense.input);
  }
}

bool Joins(LayerKind kind) {
  return kind == LayerKind::kAdd || kind == LayerKind::kMultiply || kind == LayerKind::kConcat;
}

/// Makes the layers of a DenseNetwork from those of a model, one after another.
class Builder {
 public:
  Builder(const packed::Model& model, DenseNetwork& network)
      : model_(model), graph_(model), network_(network), layers_(network.layers) {}

  void Run() {
    for (size_t i = 0; i < model_.layers.size(); ++i) dense_of_.push_back(Add(i));
  }

 private:
  const Shape& ShapeOf(int32_t value) const {
    return value < 0 ? model_.input : model_.layers[static_cast<size_t>(value)].output;
  }
  int32_t DenseOf(int32_t value) const {
    return value < 0 ? -1 : dense_of_[static_cast<size_t>(value)];
  }

  /// The dense layer that gives the model's layer's output.
  int32_t Add(size_t i) {
    const Layer& layer = model_.layers[i];
    std::vector<int32_t> inputs;
    for (const int32_t value : graph_.inputs(static_cast<int64_t>(i)))
      inputs.push_back(DenseOf(value));
    const Shape map = network_.ShapeOf(inputs[0]);  // before any flatten
    const bool flat = layer.input != map;
    bool joins_flat = false;
    for (size_t k = 0; Joins(layer.kind) && k < inputs.size(); ++k) {
      joins_flat = joins_flat || network_.ShapeOf(inputs[k]) !=
                                     ShapeOf(graph_.inputs(static_cast<int64_t>(i))[k]);
    }
    if (joins_flat || (flat && IsWindowed(layer))) {
      Fail(ErrorKind::kConfiguration, "layer '" + layer.name + "'",
           "{} after flatten has no counterpart in other engines (hint: put it before flatten)",
           packed::LayerKindName(layer.kind));
    }
    if (layer.kind == LayerKind::kFlatten) return inputs[0];
    if (layer.kind == LayerKind::kRelu && AbsorbRelu(i)) return inputs[0];
    if (layer.kind == LayerKind::kAffine && !flat) {
      DenseLayer* const before = Producer(i, /*past_pools=*/false);
      if (before != nullptr && before->HasWeights() && !before->relu) {
        FoldAffine(*before, layer.weight_pnl, layer.bias_o);
        before->source = i;
        return inputs[0];
      }
    }
    DenseLayer dense;
    dense.kind = layer.kind;
    dense.name = layer.name;
    dense.inputs = std::move(inputs);
    dense.input = map;
    dense.output =
        IsWindowed(layer) || layer.HasWeights() || Joins(layer.kind) ? layer.output : map;
    dense.window = layer.window;
    dense.source = i;
    dense.kwta = layer.kwta;
    dense.epsilon = layer.epsilon;
    dense.flat = flat;
    dense.nonnegative = IsNonnegative(dense);
    FillWeights(layer, dense);
    layers_.push_back(std::move(dense));
    return static_cast<int32_t>(layers_.size()) - 1;
  }

  bool IsNonnegative(const DenseLayer& dense) const {
    if (dense.kind == LayerKind::kKwta || dense.kind == LayerKind::kRelu) return true;
    if (dense.HasWeights() || dense.kind == LayerKind::kAffine ||
        dense.kind == LayerKind::kLayerNorm) {
      return false;
    }
    return std::all_of(dense.inputs.begin(), dense.inputs.end(), [this](int32_t value) {
      return value >= 0 && layers_[static_cast<size_t>(value)].nonnegative;
    });
  }

  /// The layer before model layer i, past flattens (and max-pools), if layer i alone reads everything between.
  DenseLayer* Producer(size_t i, bool past_pools) {
    int32_t value = graph_.inputs(static_cast<int64_t>(i))[0];
    while (value >= 0 && graph_.readers(value).size() == 1) {
      const LayerKind kind = model_.layers[static_cast<size_t>(value)].kind;
      const bool passed =
          kind == LayerKind::kFlatten || (past_pools && kind == LayerKind::kMaxPool);
      if (!passed)
        return DenseOf(value) < 0 ? nullptr : &layers_[static_cast<size_t>(DenseOf(value))];
      value = graph_.inputs(value)[0];
    }
    return nullptr;
  }

  /// The ReLU of model layer i: nothing to do, or a flag of the layer before the max-pools (for max(relu(x)) =
  /// relu(max(x))); false if it needs a layer of its own.
  bool AbsorbRelu(size_t i) {
    const int32_t input = DenseOf(graph_.inputs(static_cast<int64_t>(i))[0]);
    if (input >= 0 && layers_[static_cast<size_t>(input)].nonnegative) return true;
    DenseLayer* const target = Producer(i, /*past_pools=*/true);
    if (target == nullptr) return false;
    const LayerKind kind = target->kind;
    if (!target->HasWeights() && kind != LayerKind::kAffine && kind != LayerKind::kAdd &&
        kind != LayerKind::kMultiply) {
      return false;
    }
    target->relu = target->nonnegative = true;
    for (int32_t value = input; &layers_[static_cast<size_t>(value)] != target;
         value = layers_[static_cast<size_t>(value)].inputs[0]) {
      layers_[static_cast<size_t>(value)].nonnegative = true;
    }
    return true;
  }

  const packed::Model& model_;
  const packed::Graph graph_;
  DenseNetwork& network_;
  std::vector<DenseLayer>& layers_;
  std::vector<int32_t> dense_of_;  ///< of each layer of the model so far
};

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
  const packed::Graph graph(model);
  const std::vector<packed::Quantisation> steps = packed::Quantisations(model);
  std::vector<int32_t> value_of;  // of each layer, in `real`
  for (size_t i = 0; i < model.layers.size(); ++i) {
    Layer layer = model.layers[i];
    const packed::Quantisation& in =
        steps[static_cast<size_t>(graph.inputs(static_cast<int64_t>(i))[0] + 1)];
    const bool clamped = layer.HasWeights() && !layer.shift_o.empty() && layer.output_zero == 0;
    if (layer.HasWeights()) DequantiseLayer(layer, in.scale, in.zero, *storage);
    layer.weight_i8_pnl = {};
    layer.bias_i32_o = {};
    layer.shift_o = {};
    layer.scale_o = {};
    layer.table = {};
    layer.output_scale = 0;
    layer.output_zero = 0;
    layer.input_shift = {};
    layer.output_shift = 0;
    for (int32_t& value : layer.inputs)
      value = value < 0 ? -1 : value_of[static_cast<size_t>(value)];
    real.layers.push_back(layer);
    if (clamped) {
      Layer relu;
      relu.kind = LayerKind::kRelu;
      relu.name = layer.name + ".clamp";
      relu.input = relu.output = layer.output;
      real.layers.push_back(std::move(relu));
    }
    value_of.push_back(static_cast<int32_t>(real.layers.size()) - 1);
  }
  real.storage = std::move(storage);
  return real;
}

void RefuseLayer(const DenseLayer& layer, const char* engine) {
  Fail(ErrorKind::kConfiguration, "layer '" + layer.name + "'",
       "{} is not among what is given to {}", packed::LayerKindName(layer.kind), engine);
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
  Builder(model, network).Run();
  return network;
}

}  // namespace bisparse::peers
