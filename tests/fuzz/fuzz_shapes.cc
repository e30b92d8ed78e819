// SPDX-License-Identifier: Apache-2.0
// Fuzzes shapes: bytes become a model with the library's own structs, whose sizes lie at powers of two, at limits and beside
// them, so that most inputs get as far as the products of sizes. ValidateModel refuses it with Error (kData), or it loads in
// every mode and, where that is at most 1e7 multiplications (1e9 for one input in 64), runs; the modes must agree to the
// bit where sums are exact. Commands and seeds: CMakeLists.txt. Read first: deploy/packed/limits.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <string>
#include <vector>

#include "deploy/ops/operator.h"
#include "tests/fuzz/run_model.h"

namespace bisparse::fuzz {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Layout;

// Larger arrays are of zeros, which all inputs share.
constexpr int64_t kOwnElements = 1 << 16, kSharedElements = 1 << 24;

class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint8_t Next() { return at_ < bytes_.size() ? bytes_[at_++] : uint8_t{0}; }
  bool AreLeft() const { return at_ < bytes_.size(); }
  int32_t Below(int32_t n) { return Next() % n; }
  /// A size at which something may happen: small, 2^k - 1, 2^k, 2^k + 1, anything.
  int32_t Number() {
    const uint8_t kind = Next();
    if (kind < 128) return 1 + kind % 20;
    if (kind < 224) return std::max(1, (int32_t{1} << (kind - 128) / 3 % 28) + kind % 3 - 1);
    if (kind < 232) return kind - 228;  // zero and below
    return 1 + (Next() | Next() << 8 | (kind - 232) << 16);
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

template <typename T>
std::span<const T> Zeros(int64_t count) {
  static const std::vector<T> zeros(kSharedElements);
  return std::span(zeros).first(static_cast<size_t>(count));
}

class Builder {
 public:
  explicit Builder(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  /// False where arrays would be larger than the shared ones.
  bool Build() {
    const uint8_t flags = bytes_.Next();
    model_.name = "fuzz";
    if (flags & 1) {
      model_.format = packed::NumberFormat::kI8;
      model_.input_scale = flags & 2 ? 1.0f : 0.01f;
      model_.input_zero = flags & 4 ? 128 : 0;
    }
    graph_ = flags & 8;
    model_.input = {bytes_.Number(), bytes_.Number(), bytes_.Number()};
    at_ = model_.input;
    for (int i = 0; i < 12 && (bytes_.AreLeft() || i == 0); ++i) {
      if (!AddLayer(i, DrawKind())) return false;
    }
    if (graph_ && !AddLayer(12, LayerKind::kLinear)) return false;
    FinishI8();
    return true;
  }

  const packed::Model& model() const { return model_; }
  /// Whole features give whole sums below 2^24 everywhere.
  bool exact() const { return largest_ < 0x1p24; }

 private:
  LayerKind DrawKind() {
    // Seeds of chains stay what they are.
    const LayerKind last = graph_ ? packed::kLastLayerKind : LayerKind::kDepthwiseConv2d;
    const auto kind = static_cast<LayerKind>(bytes_.Below(static_cast<int>(last) + 1));
    const bool refused = graph_ && IsI8() && kind == LayerKind::kAffine;
    return refused ? LayerKind::kRelu : kind;
  }

  bool IsI8() const { return model_.format == packed::NumberFormat::kI8; }

  bool AddLayer(int i, LayerKind kind) {
    Layer layer;
    layer.kind = kind;
    layer.name = std::to_string(i);
    layer.input = at_;
    layer.output = at_;
    if (layer.IsConvolution() || layer.kind == LayerKind::kMaxPool ||
        layer.kind == LayerKind::kAvgPool) {
      SetWindow(layer);
    } else if (layer.kind == LayerKind::kLinear) {
      layer.output = {1, 1, bytes_.Number()};
    } else if (layer.kind == LayerKind::kFlatten) {
      const double elements = double(at_.height) * at_.width * at_.channels;
      layer.output = {1, 1, elements <= 0x1p30 ? static_cast<int32_t>(elements) : 1};
    } else if (layer.kind == LayerKind::kKwta) {
      layer.kwta = {bytes_.Number(), static_cast<packed::KwtaScope>(bytes_.Below(2)),
                    bytes_.Number(), bytes_.Number()};
      largest_ *= 1;
    } else if (packed::OperatorOf(layer.kind).most_inputs > 1) {
      SetInputs(layer, i);
    } else if (layer.kind == LayerKind::kAffine || layer.kind == LayerKind::kLayerNorm) {
      if (!Fits(at_.channels)) return false;
      layer.weight_pnl = Zeros<float>(at_.channels);
      layer.bias_o = Zeros<float>(at_.channels);
    }
    // Of whole numbers these make others.
    if (layer.kind == LayerKind::kAvgPool || packed::OperatorOf(layer.kind).any_zero) {
      largest_ = 0x1p30;
    }
    if (layer.HasWeights() && !SetWeights(layer)) return false;
    at_ = layer.output;
    model_.layers.push_back(layer);
    return true;
  }

  /// The layer before and one to three others: maps that fit, if there are such, or any.
  void SetInputs(Layer& layer, int32_t i) {
    layer.inputs = {i - 1};
    const uint8_t kind = bytes_.Next();
    const int others = IsI8() && layer.kind == LayerKind::kMultiply ? 1 : 1 + kind % 3;
    for (int k = 0; k < others; ++k) {
      int32_t value = bytes_.Below(i + 1) - 1;
      const auto fits = [&] {
        const Shape& shape = ShapeOf(value);
        return shape.height == at_.height && shape.width == at_.width &&
               (shape.channels == at_.channels || layer.kind == LayerKind::kConcat);
      };
      while (kind < 224 && value < i - 1 && !fits()) ++value;
      layer.inputs.push_back(value);
      if (layer.kind == LayerKind::kConcat)
        layer.output.channels += ShapeOf(value).channels % (1 << 24);
      if (layer.kind == LayerKind::kMultiply) largest_ *= largest_;
    }
    largest_ *= 4;  // an upper bound of every value before
  }
  const Shape& ShapeOf(int32_t value) const {
    return value < 0 ? model_.input : model_.layers[static_cast<size_t>(value)].output;
  }

  void SetWindow(Layer& layer) {
    packed::Window& w = layer.window;
    w = {bytes_.Number(), bytes_.Number(), bytes_.Number(), bytes_.Number()};
    const uint8_t pad = bytes_.Next();
    if (pad & 1) w.pad_h = bytes_.Number();
    if (pad & 2) w.pad_w = bytes_.Number();
    if (pad & 4) w.kernel_h = at_.height;  // the whole map
    if (pad & 8) w.kernel_w = at_.width;
    const bool conv = layer.kind == LayerKind::kConv2d;
    if (layer.IsConvolution() && (pad & 16)) w.dilation_h = bytes_.Number();
    if (layer.IsConvolution() && (pad & 32)) w.dilation_w = bytes_.Number();
    layer.output = packed::WindowOutput(at_, w, conv ? bytes_.Number() : at_.channels);
  }

  static bool Fits(int64_t count) { return 0 <= count && count <= kSharedElements; }

  bool SetWeights(Layer& layer) {
    constexpr int32_t kLanes[] = {1, 2, 3, 4, 8, 16};
    packed::Packing& packing = layer.packing;
    const uint8_t kind = bytes_.Next();
    packing.lanes = kLanes[kind % 6];
    if (kind & 64 && layer.kind != LayerKind::kDepthwiseConv2d) {
      packing.set_size = std::clamp(bytes_.Number(), 1, packed::kMaxSetSize);
      packing.run.channels = bytes_.Number();
      packing.run.taps = static_cast<packed::RunTaps>(kind / 6 % 3);
    }
    const double inputs = double(at_.height) * at_.width * at_.channels;
    if (!(inputs >= 1 && inputs <= 0x1p30)) return true;  // what follows is refused for that
    if (!LayoutFault(layer.kernel(), packing).empty()) return true;
    const Layout layout(layer.kernel(), packing);
    if (!Fits(layout.owners()) || !Fits(layout.slots()) || !Fits(layout.outputs_padded())) {
      return false;
    }
    layer.owner_nr = Owners(layout, kind);
    largest_ = largest_ * static_cast<double>(layout.positions) + 1;
    if (model_.format == packed::NumberFormat::kI8) {
      layer.weight_i8_pnl = Weights<int8_t>(layout, layer.owner_nr, kind & 128 ? 127 : 3);
      layer.bias_i32_o = Zeros<int32_t>(layout.outputs_padded());
    } else {
      layer.weight_pnl = Weights<float>(layout, layer.owner_nr, 1);
      layer.bias_o = Zeros<float>(layout.outputs_padded());
    }
    return true;
  }

  std::span<const uint8_t> Owners(const Layout& layout, uint8_t kind) {
    const int64_t count = layout.owners();
    if (count > kOwnElements || kind & 32) return Zeros<uint8_t>(count);
    std::vector<uint8_t>& owners = bytes_of_layers_.emplace_back(static_cast<size_t>(count));
    for (size_t i = 0; i < owners.size(); ++i) {
      owners[i] = static_cast<uint8_t>(i * 7 % static_cast<size_t>(layout.packing.set_size));
    }
    return owners;
  }

  /// Of -most, 0, most; zeros for outputs that are none.
  template <typename T>
  std::span<const T> Weights(const Layout& layout, std::span<const uint8_t> owner_nr, int most) {
    const int64_t count = layout.slots();
    if (count > kOwnElements) return Zeros<T>(count);
    std::vector<T>& weights = Storage<T>().emplace_back(static_cast<size_t>(count));
    layout.ForEachSlot(owner_nr, [&](int64_t, int32_t, int32_t, int64_t, int64_t slot) {
      weights[static_cast<size_t>(slot)] = static_cast<T>((slot * 5 % 3 - 1) * most);
    });
    return weights;
  }
  template <typename T>
  std::deque<std::vector<T>>& Storage() {
    if constexpr (std::is_same_v<T, float>) {
      return floats_of_layers_;
    } else {
      return i8_of_layers_;
    }
  }

  /// Shifts of all layers with weights but the last, scales of that; zeros and shifts of graphs.
  void FinishI8() {
    if (model_.format != packed::NumberFormat::kI8) return;
    const std::ptrdiff_t last = packed::LastWithWeights(model_);
    for (std::ptrdiff_t i = 0; i <= last; ++i) {
      Layer& layer = model_.layers[static_cast<size_t>(i)];
      const size_t outputs = layer.bias_i32_o.size();
      if (!layer.HasWeights()) continue;
      if (i == last) {
        layer.scale_o = floats_of_layers_.emplace_back(outputs, 0.5f);
      } else {
        layer.shift_o = bytes_of_layers_.emplace_back(outputs, uint8_t{3});
        layer.output_scale = 1;
      }
    }
    if (graph_) FinishGraphI8();
  }

  void FinishGraphI8() {
    const std::vector<bool> negatives_read = packed::NegativesAreRead(model_);
    if (!negatives_read[0]) model_.input_zero = 0;
    std::vector<packed::Quantisation> values = {{model_.input_scale, model_.input_zero}};
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      Layer& layer = model_.layers[i];
      const packed::Operator& op = packed::OperatorOf(layer.kind);
      const bool own = op.output_steps == packed::OutputSteps::kOwn && layer.scale_o.empty();
      if (own && negatives_read[i + 1]) layer.output_zero = packed::kSignedZero;
      if (layer.kind == LayerKind::kLayerNorm) layer.output_scale = 0.5f;
      const size_t first = layer.inputs.empty() ? i : static_cast<size_t>(layer.inputs[0] + 1);
      if (op.most_inputs > 1) {
        layer.output_scale = values[first].scale;
        layer.output_shift = 2;
        if (layer.kind == LayerKind::kMultiply) {
          const float other = values[static_cast<size_t>(layer.inputs[1] + 1)].scale;
          layer.output_scale = static_cast<float>(4 * (double{values[first].scale} * other));
        } else {
          layer.input_shift.assign(layer.inputs.size(), 2);
        }
      }
      values.push_back(packed::OutputQuantisation(layer, values[first]));
    }
  }

  Bytes bytes_;
  Shape at_;
  packed::Model model_;
  bool graph_ = false;
  double largest_ = 3;
  std::deque<std::vector<float>> floats_of_layers_;
  std::deque<std::vector<int8_t>> i8_of_layers_;
  std::deque<std::vector<uint8_t>> bytes_of_layers_;
};

}  // namespace
}  // namespace bisparse::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace bisparse;
  fuzz::Builder builder({bytes, size});
  if (!builder.Build()) return 0;
  const packed::Model& model = builder.model();
  try {
    packed::ValidateModel(model, "fuzz");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) fuzz::Give(error.what());
    return 0;
  }
  const uint8_t last = size > 0 ? bytes[size - 1] : uint8_t{0};
  const bool large = last % 64 == 63;
  const double work = fuzz::WorkOf(model), weights = fuzz::WeightsOf(model);
  if (weights > (large ? 0x1p26 : 0x1p20)) return 0;
  if (work <= 1e7) {
    fuzz::RunModel(model, {bytes, size}, builder.exact());
  } else if (large && work <= 1e9) {
    fuzz::RunModel(model, {bytes, size}, builder.exact(), fuzz::kModes[last / 64]);
  } else if (large) {
    fuzz::Load(model, fuzz::kModes[last / 64]);
  }
  return 0;
}
