// SPDX-License-Identifier: Apache-2.0
// Read first: assemble.h. Tested in: assemble_test.cc.
#include "train/config/assemble.h"

#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/check.h"
#include "deploy/base/random.h"
#include "deploy/packed/pack.h"
#include "train/config/graph.h"
#include "train/config/network.h"
#include "train/config/operators.h"
#include "train/config/static_owners.h"

namespace bisparse::train {
namespace {

// One AVX-512 register of floats: the dense kernels' rows of weights.
constexpr int32_t kDenseLanes = 16;

// What the model's spans point into.
struct Storage {
  std::vector<AlignedBuffer<float>> floats;
  std::vector<AlignedBuffer<uint8_t>> owners;

  std::span<const float> Keep(std::span<const float> values, size_t padded_size) {
    AlignedBuffer<float> buffer(padded_size);
    std::copy(values.begin(), values.end(), buffer.begin());
    floats.push_back(std::move(buffer));
    return floats.back().span();
  }
  std::span<const uint8_t> Keep(std::span<const uint8_t> values) {
    AlignedBuffer<uint8_t> buffer(values.size());
    std::copy(values.begin(), values.end(), buffer.begin());
    owners.push_back(std::move(buffer));
    return owners.back().span();
  }
};

void CheckSize(const LayerConfig& layer, const char* what, size_t got, int64_t wanted) {
  if (static_cast<int64_t>(got) != wanted) {
    Fail(ErrorKind::kInternal, "layer '" + layer.name + "'", "{} values of {}, {} wanted", got,
         what, wanted);
  }
}

void AddWeights(const LayerConfig& layer, const LayerWeights& weights, Storage& storage,
                packed::Layer& deployed) {
  deployed.packing = StoredPacking(layer);
  const packed::Layout layout(layer.kernel, deployed.packing);
  CheckSize(layer, "weight_op", weights.weight_op.size(), layer.kernel.weights());
  CheckSize(layer, "owner_nr", weights.owner_nr.size(), layout.owners());
  if (!weights.bias_o.empty()) {
    CheckSize(layer, "bias_o", weights.bias_o.size(), layer.kernel.outputs);
  }
  const std::vector<float> weight_pnl = packed::Pack(layout, weights.weight_op, weights.owner_nr);
  deployed.weight_pnl = storage.Keep(weight_pnl, weight_pnl.size());
  deployed.owner_nr = storage.Keep(std::span<const uint8_t>(weights.owner_nr));
  deployed.bias_o = storage.Keep(weights.bias_o, static_cast<size_t>(layout.outputs_padded()));
}

void AddAffine(const LayerConfig& layer, const Affine& affine, Storage& storage,
               packed::Layer& deployed) {
  CheckSize(layer, "scale_c", affine.scale_c.size(), layer.input.channels);
  CheckSize(layer, "shift_c", affine.shift_c.size(), layer.input.channels);
  deployed.weight_pnl = storage.Keep(affine.scale_c, affine.scale_c.size());
  deployed.bias_o = storage.Keep(affine.shift_c, affine.shift_c.size());
}

/// As a layer; no layer of a configuration has a dot in its name.
LayerConfig InputNormalisation(const NetworkConfig& network) {
  LayerConfig layer;
  layer.kind = LayerKind::kBatchNorm;
  layer.name = "input.normalise";
  layer.input = layer.output = network.input;
  return layer;
}

/// A layer of the model file, without its weights yet, and the one of the configuration that it is.
struct DeployedLayer {
  packed::Layer layer;
  LayerConfig config;
};

/// Without the layers that vanish: what reads one of them reads its input.
std::vector<DeployedLayer> DeployedLayers(const NetworkConfig& network) {
  std::vector<DeployedLayer> layers;
  const auto add = [&](const LayerConfig& config, packed::LayerKind kind) -> packed::Layer& {
    packed::Layer& layer = layers.emplace_back(DeployedLayer{{.kind = kind}, config}).layer;
    layer.name = config.name;
    layer.input = config.input;
    layer.output = config.output;
    layer.window = config.window;
    layer.kwta = config.kwta.rule;
    if (kind == packed::LayerKind::kLayerNorm) layer.epsilon = static_cast<float>(config.epsilon);
    return layer;
  };
  int32_t input = -1;
  if (network.normalise_input) {
    add(InputNormalisation(network), packed::LayerKind::kAffine);
    input = 0;
  }
  std::vector<int32_t> value_of(network.layers.size());  // of each configured layer
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const LayerConfig& config = network.layers[i];
    std::vector<int32_t> inputs;
    for (const int32_t value : config.inputs) {
      inputs.push_back(value < 0 ? input : value_of[static_cast<size_t>(value)]);
    }
    const std::optional<packed::LayerKind> kind = OperatorOf(config.kind).deployed;
    if (!kind || FoldTarget(network, i)) {
      value_of[i] = inputs[0];
      continue;
    }
    const auto index = static_cast<int32_t>(layers.size());
    packed::Layer& layer = add(config, *kind);
    // Of a chain they are left out, as in files of older versions.
    if (inputs != std::vector<int32_t>{index - 1}) layer.inputs = std::move(inputs);
    value_of[i] = index;
  }
  return layers;
}

}  // namespace

Affine ToAffine(const BatchNormStatistics& statistics) {
  const size_t channels = statistics.mean.size();
  BISPARSE_CHECK(statistics.variance.size() == channels);
  BISPARSE_CHECK(statistics.gamma.empty() || statistics.gamma.size() == channels);
  BISPARSE_CHECK(statistics.beta.empty() || statistics.beta.size() == channels);
  Affine affine{std::vector<float>(channels), std::vector<float>(channels)};
  for (size_t c = 0; c < channels; ++c) {
    const double gamma = statistics.gamma.empty() ? 1.0 : statistics.gamma[c];
    const double beta = statistics.beta.empty() ? 0.0 : statistics.beta[c];
    const double scale = gamma / std::sqrt(double{statistics.variance[c]} + statistics.epsilon);
    affine.scale_c[c] = static_cast<float>(scale);
    affine.shift_c[c] = static_cast<float>(beta - statistics.mean[c] * scale);
  }
  return affine;
}

void FoldBatchNorm(LayerWeights& layer, const BatchNormStatistics& statistics) {
  const Affine affine = ToAffine(statistics);
  const size_t outputs = affine.scale_c.size();
  BISPARSE_CHECK(outputs > 0 && layer.weight_op.size() % outputs == 0);
  BISPARSE_CHECK(layer.bias_o.empty() || layer.bias_o.size() == outputs);
  layer.bias_o.resize(outputs);
  const size_t positions = layer.weight_op.size() / outputs;
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t p = 0; p < positions; ++p) layer.weight_op[o * positions + p] *= affine.scale_c[o];
    layer.bias_o[o] =
        static_cast<float>(double{layer.bias_o[o]} * affine.scale_c[o] + affine.shift_c[o]);
  }
}

packed::Packing StoredPacking(const LayerConfig& layer) {
  if (layer.HasOwners()) return layer.packing.layout;
  return {1, kDenseLanes, {}};
}

packed::Model AssembleModel(const Config& config, std::span<const LayerWeights> weights,
                            std::span<const Affine> affines, std::vector<std::string> class_names,
                            packed::Provenance provenance) {
  const auto storage = std::make_shared<Storage>();
  packed::Model model;
  model.name = config.name;
  model.input = config.network.input;
  size_t next_weights = 0, next_affine = 0;
  for (DeployedLayer& deployed : DeployedLayers(config.network)) {
    if (deployed.config.HasWeights()) {
      BISPARSE_CHECK(next_weights < weights.size());
      AddWeights(deployed.config, weights[next_weights++], *storage, deployed.layer);
    } else if (deployed.config.kind == LayerKind::kBatchNorm ||
               deployed.config.kind == LayerKind::kLayerNorm) {
      BISPARSE_CHECK(next_affine < affines.size());
      AddAffine(deployed.config, affines[next_affine++], *storage, deployed.layer);
    }
    model.layers.push_back(std::move(deployed.layer));
  }
  BISPARSE_CHECK(next_weights == weights.size() && next_affine == affines.size());
  model.class_names = std::move(class_names);
  if (config.data.kind == data::DatasetKind::kSpeechCommands) {
    model.front_end = config.front_end;
    if (config.detection != DetectionOptions()) model.detection = config.detection;
  }
  if (config.data.kind == data::DatasetKind::kImages) model.pictures = config.data.images.input;
  model.provenance = std::move(provenance);
  model.storage = storage;
  packed::ValidateModel(model, config.path.empty() ? config.name : config.path);
  return model;
}

std::string Int8Fault(const Config& config) {
  packed::Model model;
  model.input = config.network.input;
  for (DeployedLayer& deployed : DeployedLayers(config.network)) {
    model.layers.push_back(std::move(deployed.layer));
  }
  return packed::I8Fault(model);
}

packed::Model MakeRandomModel(const Config& config, uint64_t seed) {
  std::vector<LayerWeights> weights;
  std::vector<Affine> affines;
  const auto add_identity = [&](int32_t channels) {
    const auto count = static_cast<size_t>(channels);
    affines.push_back({std::vector<float>(count, 1.0f), std::vector<float>(count, 0.0f)});
  };
  if (config.network.normalise_input) add_identity(config.network.input.channels);
  for (size_t i = 0; i < config.network.layers.size(); ++i) {
    const LayerConfig& layer = config.network.layers[i];
    if ((layer.kind == LayerKind::kBatchNorm && !FoldTarget(config.network, i)) ||
        layer.kind == LayerKind::kLayerNorm) {
      add_identity(layer.input.channels);
    }
    if (!layer.HasWeights()) continue;
    const packed::Layout layout(layer.kernel, StoredPacking(layer));
    LayerWeights drawn;
    drawn.owner_nr = DrawStaticOwners(layout, seed, layer.name);
    drawn.weight_op.resize(static_cast<size_t>(layer.kernel.weights()));
    drawn.bias_o.resize(static_cast<size_t>(layer.kernel.outputs));
    // He's rule: variance 2 / fan-in keeps the variance of activations after a ReLU.
    const double fan_in = static_cast<double>(layout.positions) / layout.packing.set_size;
    const float scale = static_cast<float>(std::sqrt(2.0 / fan_in));
    CounterRandom random(seed, {0x7765696768747300, i});  // "weights"
    for (int64_t o = 0; o < layer.kernel.outputs; ++o) {
      const packed::OutputPlace place = layout.PlaceOf(o);
      for (int64_t p = 0; p < layout.positions; ++p) {
        if (layout.Owner(drawn.owner_nr, place.n, p) != place.s) continue;
        drawn.weight_op[static_cast<size_t>(o * layout.positions + p)] = scale * random.Normal();
      }
    }
    for (float& bias : drawn.bias_o) bias = 0.1f * random.Normal();
    weights.push_back(std::move(drawn));
  }
  packed::Provenance provenance;
  provenance.config_text = config.text;
  provenance.seed = seed;
  Config filled = config;
  PictureInput& pictures = filled.data.images.input;
  if (pictures.mean_c.empty()) {  // of training samples that a random network has none of
    const auto channels = static_cast<size_t>(config.network.input.channels);
    pictures.mean_c.assign(channels, 0.5f);
    pictures.deviation_c.assign(channels, 0.25f);
  }
  return AssembleModel(filled, weights, affines, ClassNames(config.data), std::move(provenance));
}

}  // namespace bisparse::train
