// SPDX-License-Identifier: Apache-2.0
// Read first: network.h. Tested in: network_test.cc, graph_test.cc.
// Past 400 lines: one pass over the network, with one rule for each part of a layer.
#include "train/config/network.h"

#include <fmt/format.h>

#include <algorithm>

#include "deploy/packed/limits.h"
#include "train/config/graph.h"
#include "train/config/operators.h"
#include "train/config/reader.h"

namespace bisparse::train {
namespace {

using packed::kMaxElements;

std::string Text(const Shape& shape) {
  return fmt::format("{}×{}×{}", shape.height, shape.width, shape.channels);
}

class Inference {
 public:
  Inference(Config& config, Faults& faults) : config_(config), faults_(faults) {}

  void Run() {
    NetworkConfig& network = config_.network;
    const bool speech = config_.data.kind == data::DatasetKind::kSpeechCommands;
    if (speech) {
      if (faults_.Concerns("front_end")) return;
      network.input = {config_.front_end.mel_count, config_.front_end.frame_count, 1};
    } else if (faults_.Concerns("data.input")) {
      return;
    }
    network.normalise_input =
        config_.data.kind == data::DatasetKind::kNpy && config_.data.npy.normalise_columns;
    if (network.layers.empty()) return;  // told by the reader
    if (network.input.elements() > kMaxElements) {
      faults_.Add(speech ? "front_end" : "data.input",
                  fmt::format("gives samples of {}, more than {} elements", Text(network.input),
                              kMaxElements));
      return;
    }
    ResolveInputs(network, faults_);
    // A layer that could not be read may have read any value.
    const auto readable = [](const LayerConfig& layer) {
      return !layer.inputs.empty() && layer.name[0] != kUnknownLayer;
    };
    if (std::all_of(network.layers.begin(), network.layers.end(), readable)) {
      CheckReaders(network, faults_);
    }
    known_.assign(network.layers.size(), false);
    bool all_known = true;
    for (size_t i = 0; i < network.layers.size(); ++i) {
      LayerConfig& layer = network.layers[i];
      known_[i] = TakeInputs(layer) && InferLayer(layer);
      all_known = all_known && known_[i];
      if (!known_[i]) continue;
      if (layer.output.elements() > kMaxElements) {
        faults_.Add(layer.name, fmt::format("gives {}, more than {} elements", Text(layer.output),
                                            kMaxElements));
        return;
      }
      if (!CheckLimits(layer)) return;
    }
    if (!all_known) return;
    const LayerConfig& last = network.layers.back();
    network.class_count = static_cast<int32_t>(last.output.elements());
    CheckOutput(last);
  }

 private:
  bool Faulty(const LayerConfig& layer, std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      if (faults_.Concerns(layer.name + "." + key)) return true;
    }
    return false;
  }

  // Whether the number of classes can't be told for a fault that is reported already.
  bool ClassesFaulty() const {
    for (const char* key :
         {"data.type", "data.words", "data.unknown", "data.silence", "data.class_names"}) {
      if (faults_.Concerns(key)) return true;
    }
    return false;
  }

  const Shape& ShapeOf(int32_t value) const {
    const NetworkConfig& network = config_.network;
    return value < 0 ? network.input : network.layers[static_cast<size_t>(value)].output;
  }

  // False if the shape of an input is not known.
  bool TakeInputs(LayerConfig& layer) {
    if (layer.inputs.empty()) return false;
    for (const int32_t value : layer.inputs) {
      if (value >= 0 && !known_[static_cast<size_t>(value)]) return false;
    }
    layer.input = ShapeOf(layer.inputs[0]);
    return true;
  }

  // The layer whose channels a k-WTA ranks, for messages.
  std::string Producer(const LayerConfig& layer) const {
    int32_t value = layer.inputs[0];
    while (value >= 0) {
      const LayerConfig& producer = config_.network.layers[static_cast<size_t>(value)];
      if (producer.HasWeights() || producer.inputs.size() > 1) return producer.name;
      value = producer.inputs[0];
    }
    return "the input";
  }

  // Fills layer.output; false if it is not known.
  bool InferLayer(LayerConfig& layer) {
    if (layer.name[0] == kUnknownLayer) return false;
    // Keys that are no map: the fault is the layer's, and nothing of it was read.
    if (layer.kind == LayerKind::kDepthwiseConv2d) layer.outputs = layer.input.channels;
    if (layer.HasWeights() && layer.outputs == 0 && !layer.outputs_are_classes) return false;
    layer.output = layer.input;
    switch (OperatorOf(layer.kind).shape) {
      case ShapeRule::kSame:
        if (layer.kind == LayerKind::kKwta) CheckKwta(layer);
        if (layer.kind == LayerKind::kLayerNorm) CheckLayerNorm(layer);
        return true;
      case ShapeRule::kWindow:
        return InferWindow(layer, layer.HasWeights() ? layer.outputs : layer.input.channels) &&
               (!layer.HasWeights() || CheckKernel(layer));
      case ShapeRule::kUnits:
        return InferLinear(layer);
      case ShapeRule::kFlat:
        layer.output = {1, 1, static_cast<int32_t>(layer.input.elements())};
        return true;
      case ShapeRule::kRepeat:
        return InferRepeat(layer);
      case ShapeRule::kChannels:
        return InferChannels(layer);
    }
    return true;
  }

  // The largest input comes first, the others keep their order.
  bool InferRepeat(LayerConfig& layer) {
    const auto largest = std::max_element(
        layer.inputs.begin(), layer.inputs.end(),
        [this](int32_t a, int32_t b) { return ShapeOf(a).elements() < ShapeOf(b).elements(); });
    const auto k = static_cast<size_t>(largest - layer.inputs.begin());
    const Shape full = ShapeOf(*largest);
    const auto repeats = [](int32_t size, int32_t of) { return size == of || size == 1; };
    if (!CheckShapes(layer, k, "equal channels, and equal heights and widths or 1",
                     [&](const Shape& s) {
                       return s.channels == full.channels && repeats(s.height, full.height) &&
                              repeats(s.width, full.width);
                     })) {
      return false;
    }
    std::rotate(layer.inputs.begin(), largest, largest + 1);
    layer.input = layer.output = full;
    return true;
  }

  bool InferChannels(LayerConfig& layer) {
    const Shape& first = layer.input;
    if (!CheckShapes(layer, 0, "equal heights and widths", [&](const Shape& s) {
          return s.height == first.height && s.width == first.width;
        })) {
      return false;
    }
    int64_t channels = 0;
    for (const int32_t value : layer.inputs) channels += ShapeOf(value).channels;
    if (channels > kMaxElements) {
      faults_.Add(layer.name,
                  fmt::format("gives {} channels, at most {} are allowed", channels, kMaxElements));
      return false;
    }
    layer.output.channels = static_cast<int32_t>(channels);
    return true;
  }

  // Tells each input that does not fit input `k` of the layer, at the name that brought the two together.
  template <typename Fits>
  bool CheckShapes(const LayerConfig& layer, size_t k, const char* wanted, const Fits& fits) {
    bool good = true;
    const auto text = [&](size_t j) {
      return fmt::format("{} gives {}", NameOf(layer.inputs[j]), Text(ShapeOf(layer.inputs[j])));
    };
    for (size_t j = 0; j < layer.inputs.size(); ++j) {
      if (fits(ShapeOf(layer.inputs[j]))) continue;
      good = false;
      const size_t named = j > 0 ? j : k;  // input 0 is the value before, which no name brings
      faults_.AddAt(
          faults_.MarkOf(fmt::format("{}.from.{}", layer.name, named - 1)), layer.name + ".from",
          fmt::format(
              "does not fit: {}, {}; {} wants {} (hint: a conv2d with kernel: 1 on one of them)",
              text(j), text(k), OperatorOf(layer.kind).word, wanted));
    }
    return good;
  }

  std::string NameOf(int32_t value) const {
    return value < 0 ? "the input" : config_.network.layers[static_cast<size_t>(value)].name;
  }

  bool InferWindow(LayerConfig& layer, int32_t channels) {
    if (Faulty(layer, {"channels", "kernel", "stride", "dilation", "padding"})) return false;
    packed::Window& w = layer.window;
    const bool pool = !layer.IsConvolution();
    if (pool && !ResolveWholeMap(layer)) return false;
    if (w.stride_h == 0) w.stride_h = w.kernel_h;
    if (w.stride_w == 0) w.stride_w = w.kernel_w;
    const int64_t extent_h = w.extent_h(), extent_w = w.extent_w();
    const std::string dilated =
        w.IsDilated() ? fmt::format(" dilated to [{}, {}]", extent_h, extent_w) : "";
    if (w.pad_h >= extent_h || w.pad_w >= extent_w) {
      faults_.Add(
          layer.name + ".padding",
          fmt::format(
              "= [{}, {}] is not below the kernel's [{}, {}]{}: a window would see padding only",
              w.pad_h, w.pad_w, w.kernel_h, w.kernel_w, dilated));
      return false;
    }
    const Shape& in = layer.input;
    if (extent_h > in.height + 2 * w.pad_h || extent_w > in.width + 2 * w.pad_w) {
      const std::string padded =
          w.pad_h + w.pad_w > 0 ? fmt::format(" padded by [{}, {}]", w.pad_h, w.pad_w) : "";
      faults_.Add(layer.name + ".kernel",
                  fmt::format("= [{}, {}]{} is larger than its input of {}×{}{} (hint: fewer pools "
                              "before it, or padding)",
                              w.kernel_h, w.kernel_w, dilated, in.height, in.width, padded));
      return false;
    }
    layer.output = packed::WindowOutput(in, w, channels);
    const bool depthwise = layer.kind == LayerKind::kDepthwiseConv2d;
    layer.kernel = {channels, depthwise ? 1 : in.channels, w.kernel_h, w.kernel_w};
    if (pool) layer.kernel = {};
    return true;
  }

  // A pool's kernel of 0 is the map's own size.
  bool ResolveWholeMap(LayerConfig& layer) {
    const Shape& in = layer.input;
    packed::Window& w = layer.window;
    if (w.kernel_h == 0) w.kernel_h = in.height;
    if (w.kernel_w == 0) w.kernel_w = in.width;
    if (w.kernel_h <= packed::kMaxKernel && w.kernel_w <= packed::kMaxKernel) return true;
    faults_.Add(layer.name + ".kernel",
                fmt::format("= 0 means the whole map of {}, but a window has at most {} rows and "
                            "columns (hint: pools before it)",
                            Text(in), packed::kMaxKernel));
    return false;
  }

  bool InferLinear(LayerConfig& layer) {
    if (Faulty(layer, {"units"})) return false;
    if (layer.outputs_are_classes) {
      const bool speech = config_.data.kind == data::DatasetKind::kSpeechCommands;
      if (ClassesFaulty()) return false;
      const size_t classes = ClassNames(config_.data).size();
      if (classes == 0) {
        faults_.Add(layer.name + ".units",
                    fmt::format("= classes needs data.{} (hint: list them there, or give their "
                                "number, units: 3; the names are then the data set's)",
                                speech ? "words" : "class_names"));
        return false;
      }
      layer.outputs = static_cast<int32_t>(classes);
    }
    if (layer.input.height != 1 || layer.input.width != 1) {
      faults_.Add(layer.name,
                  fmt::format("needs a flat input, got {} (hint: put `- flatten` before it)",
                              Text(layer.input)));
    }
    layer.kernel = {layer.outputs, static_cast<int32_t>(layer.input.elements()), 1, 1};
    layer.output = {1, 1, layer.outputs};
    return CheckKernel(layer);
  }

  // What the model file could not hold once everything is trained.
  bool CheckLimits(const LayerConfig& layer) {
    const std::optional<packed::LayerKind> kind = OperatorOf(layer.kind).deployed;
    if (!kind) return true;
    const packed::Layer deployed{
        .kind = *kind, .input = layer.input, .output = layer.output, .window = layer.window};
    weights_ += DenseWeights(deployed);
    work_ += Work(deployed);
    const auto within = [&](const char* what, Size count, int64_t most) {
      if (count <= most) return true;
      faults_.Add(layer.name, fmt::format("brings the network to {} {}, a model has at most {}",
                                          count.value(), what, most));
      return false;
    };
    return within("weights (outputs padded to 16)", weights_, packed::kMaxWeights) &&
           within("units of work a sample", work_, packed::kMaxWork) &&
           within("elements of a padded map", PaddedElements(deployed), kMaxElements);
  }

  bool CheckKernel(const LayerConfig& layer) {
    if (Faulty(layer, {"packing"})) return true;
    const packed::Packing& packing = layer.packing.layout;
    const std::string key = layer.name + ".packing";
    const int32_t blocks = (layer.kernel.outputs + packing.lanes - 1) / packing.lanes;
    if (packing.set_size > 1 && blocks < packing.set_size) {
      faults_.Add(
          key + ".set_size",
          fmt::format(
              "= {} exceeds the {} kernels of {} (lanes: {}) (hint: a set would never be full)",
              packing.set_size, blocks, layer.name, packing.lanes));
    }
    if (packing.set_size > 1) CheckRuns(layer, key);
    const OwnerLearning& learning = layer.packing.learning;
    if (layer.packing.owners == OwnerRule::kLearned && learning.anneal_until > learning.freeze_at) {
      faults_.Add(key + ".learning.anneal_until",
                  fmt::format("= {} exceeds freeze_at = {}: several kernels would still own a run "
                              "when owners freeze",
                              learning.anneal_until, learning.freeze_at));
    }
    return true;
  }

  void CheckRuns(const LayerConfig& layer, const std::string& key) {
    const packed::Packing& packing = layer.packing.layout;
    if (packing.run.channels > layer.kernel.channels) {
      faults_.Add(key + ".run.channels",
                  fmt::format("= {} exceeds the {} channels that {} reads", packing.run.channels,
                              layer.kernel.channels, layer.name));
      return;
    }
    const int64_t taps = packing.run.taps == packed::RunTaps::kAll ? 1
                         : packing.run.taps == packed::RunTaps::kRow
                             ? layer.kernel.kernel_h
                             : int64_t{layer.kernel.kernel_h} * layer.kernel.kernel_w;
    const int64_t runs =
        (int64_t{layer.kernel.channels} + packing.run.channels - 1) / packing.run.channels * taps;
    if (runs < packing.set_size) {
      faults_.Add(key + ".set_size", fmt::format("= {} exceeds the {} runs of {}: some kernels "
                                                 "would own no weight (hint: shorter runs)",
                                                 packing.set_size, runs, layer.name));
    }
  }

  // The mean of one value is the value: nothing of the input would come through.
  void CheckLayerNorm(const LayerConfig& layer) {
    if (layer.input.channels > 1) return;
    faults_.Add(layer.name, fmt::format("normalises over the channels of {}, which has 1: its "
                                        "output would be the same for all inputs (hint: "
                                        "batch_norm, or a layer of more channels before it)",
                                        Producer(layer)));
  }

  void CheckKwta(const LayerConfig& layer) {
    if (Faulty(layer, {"winners", "scope", "groups", "chunk", "winners_start"})) return;
    const packed::Kwta& rule = layer.kwta.rule;
    const int32_t channels = layer.input.channels;
    const std::string source = Producer(layer);
    const int64_t part = int64_t{rule.groups} * rule.chunk;
    if (channels % part != 0) {
      const bool chunk_alone = channels % rule.chunk != 0;
      faults_.Add(layer.name + (chunk_alone ? ".chunk" : ".groups"),
                  fmt::format("= {} does not cut the {} channels of {} into equal parts{}",
                              chunk_alone ? rule.chunk : rule.groups, channels, source,
                              rule.chunk > 1 && !chunk_alone
                                  ? fmt::format(" of whole chunks of {}", rule.chunk)
                                  : ""));
      return;
    }
    const bool local = rule.scope == packed::KwtaScope::kLocal;
    const int64_t positions = local ? 1 : int64_t{layer.input.height} * layer.input.width;
    const int64_t units = positions * channels / rule.chunk;
    const char* const unit = rule.chunk > 1 ? "chunks" : local ? "channels" : "values";
    const auto check = [&](const char* key, int32_t winners, const char* hint) {
      if (winners > units) {
        faults_.Add(layer.name + "." + key, fmt::format("= {} exceeds the {} {} of {}{}", winners,
                                                        units, unit, source, hint));
      } else if (winners % rule.groups != 0) {
        faults_.Add(
            layer.name + "." + key,
            fmt::format("= {} cannot be shared equally by {} groups", winners, rule.groups));
      }
    };
    check("winners", rule.winners,
          local ? " (hint: winners per position, not per cent)"
                : " (hint: winners of the whole map)");
    if (layer.kwta.winners_start == 0) return;
    check("winners_start", layer.kwta.winners_start, "");
    if (layer.kwta.winners_start < rule.winners) {
      faults_.Add(layer.name + ".winners_start",
                  fmt::format("= {} is below winners = {} (hint: k falls during training)",
                              layer.kwta.winners_start, rule.winners));
    }
  }

  void CheckOutput(const LayerConfig& last) {
    if (ClassesFaulty()) return;
    const size_t classes = ClassNames(config_.data).size();
    if (classes != 0 && last.output.elements() != static_cast<int64_t>(classes)) {
      faults_.Add(last.name, fmt::format("gives {} outputs for {} classes (hint: units: classes)",
                                         last.output.elements(), classes));
    }
  }

  Config& config_;
  Faults& faults_;
  Size weights_ = 0, work_ = 0;  ///< of the layers so far
  std::vector<bool> known_;      ///< layers whose output has a shape
};

}  // namespace

std::vector<std::string> ClassNames(const data::DatasetConfig& data) {
  if (data.kind == data::DatasetKind::kNpy) return data.npy.class_names;
  if (data.kind == data::DatasetKind::kImages) return data.images.class_names;
  const data::SpeechCommandsConfig& speech = data.speech_commands;
  if (speech.words.empty()) return {};
  std::vector<std::string> names = speech.words;
  if (speech.unknown.amount != data::ExtraAmount::kNone) names.emplace_back("_unknown_");
  if (speech.silence.amount != data::ExtraAmount::kNone) names.emplace_back("_silence_");
  return names;
}

void InferShapes(Config& config, Faults& faults) { Inference(config, faults).Run(); }

void CheckDeployed(const Config& config, Faults& faults) {
  const std::vector<LayerConfig>& layers = config.network.layers;
  // The input's normalisation is a layer too.
  if (layers.size() >= packed::kMaxLayers) {
    faults.Add("network", fmt::format("has {} layers, a model file holds at most {}", layers.size(),
                                      packed::kMaxLayers - 1));
  }
  const auto too_long = [](const std::string& name) { return name.size() > packed::kMaxNameBytes; };
  const std::string most =
      fmt::format("bytes, a model file holds names of at most {}", packed::kMaxNameBytes);
  if (too_long(config.name)) faults.Add("name", fmt::format("has {} {}", config.name.size(), most));
  const bool speech = config.data.kind == data::DatasetKind::kSpeechCommands;
  for (const std::string& name : ClassNames(config.data)) {
    if (!too_long(name)) continue;
    faults.Add(speech ? "data.words" : "data.class_names",
               fmt::format("lists a name of {} {}", name.size(), most));
  }
  // A network of one layer with one value for each channel of a batch has no variance to learn.
  if (config.train.batch_size > 1) return;
  for (const LayerConfig& layer : layers) {
    if (layer.kind != LayerKind::kBatchNorm || layer.input.height != 1 || layer.input.width != 1) {
      continue;
    }
    faults.Add("train.batch_size",
               fmt::format("= {} gives {} one value for each channel, which has no variance (hint: "
                           "2 or more)",
                           config.train.batch_size, layer.name));
    break;
  }
}

void InferShapes(Config& config) {
  Faults faults(config.path, {});
  InferShapes(config, faults);
  faults.ThrowIfAny();
}

}  // namespace bisparse::train
