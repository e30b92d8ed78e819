// SPDX-License-Identifier: Apache-2.0
// Read first: random_graph.h. A block leaves one value; every value in it has a reader. Tested in: reference_test.cc.
// Past 400 lines: the blocks draw from one state of one graph.
#include "deploy/reference/random_graph.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"
#include "deploy/reference/random_layers.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Window;

class GraphBuilder : RandomLayers {
 public:
  GraphBuilder(uint64_t seed, const RandomModelOptions& options) : RandomLayers(seed, options) {}

  packed::Model Build() {
    DrawLayers();
    model_.storage = storage_;
    return std::move(model_);
  }

  packed::Model BuildI8() {
    model_.format = packed::NumberFormat::kI8;
    // Products of scales are powers of two times a scale where that is a power of two itself.
    multiplies_ = Chance(50);
    model_.input_scale =
        multiplies_ ? std::ldexp(1.0f, -Int(5, 6)) : (1.0f + 2.0f * random_.Uniform()) / 128.0f;
    model_.input_zero = Chance(20) ? 255 * Int(0, 1) : Int(90, 160);
    DrawLayers();
    if (packed::InputIsUnsigned(model_)) model_.input_zero = 0;
    FillNumbers();
    model_.storage = storage_;
    return std::move(model_);
  }

 private:
  struct Value {
    int32_t index;
    Shape shape;
  };
  Value Here() const { return {from_, at_}; }
  void GoTo(const Value& value) {
    from_ = value.index;
    at_ = value.shape;
  }

  void DrawLayers() {
    if (!IsI8()) multiplies_ = Chance(40);
    if (options_.tangled) return DrawTangled();
    if (Chance(75)) {
      Conv();
      Activation();
    }
    for (int32_t blocks = Int(1, 3); blocks > 0; --blocks) {
      Block();
      if (Chance(70)) Activation();
      if (Chance(25)) Pool(!MayAverage() || Chance(60));
    }
    if (Chance(30)) Flatten();
    Linear();
    if (Chance(20)) Flatten();
    if (!IsI8() && Chance(15)) Join(LayerKind::kAdd, {Here(), Here()});
  }

  /// Each layer reads any value before it, windows have any size; what nobody read is joined at the end.
  void DrawTangled() {
    if (Chance(25)) model_.input = at_ = {Int(1, 3), Int(1, 20), Int(1, 20)};
    std::vector<Value> values = {Here()};
    std::vector<bool> is_read = {true};
    for (int32_t layers = Int(2, 12); layers > 0; --layers) {
      const auto most = static_cast<int32_t>(values.size()) - 1;
      GoTo(values[static_cast<size_t>(Chance(45) ? most : Int(0, most))]);
      const size_t before = model_.layers.size();
      AnyLayer(values);
      if (model_.layers.size() == before) continue;  // a pool that does not fit
      const packed::Graph graph(model_);
      for (const int32_t value : graph.inputs(static_cast<int64_t>(before))) {
        is_read[static_cast<size_t>(value + 1)] = true;
      }
      values.push_back(Here());
      is_read.push_back(false);
    }
    std::vector<Value> ends;
    for (size_t v = 0; v < values.size(); ++v) {
      if (is_read[v]) continue;
      GoTo(values[v]);
      const Window all{.kernel_h = at_.height, .kernel_w = at_.width};
      if (Chance(80) || at_.height * at_.width > 1) {
        Add(LayerKind::kMaxPool, {1, 1, at_.channels}).window = all;
      }
      ends.push_back(Here());
    }
    if (ends.size() > 1) Join(LayerKind::kConcat, ends);
    if (IsI8() || Chance(60) || model_.layers.empty()) Linear();
    for (int32_t views = Int(0, 4) - 2; views > 0; --views) Flatten();
  }

  void AnyLayer(const std::vector<Value>& values) {
    if (MayBeSmooth() && Chance(8)) return Smooth();
    switch (Int(0, 11)) {
      case 0:
      case 1:
      case 2:
        return ConvOf(AnyWindow(false), Chance(30) ? at_.channels : Outputs());
      case 3:
        Add(LayerKind::kRelu, at_);
        return;
      case 4:
      case 5:
        return Kwta();
      case 6: {
        const Window w = AnyWindow(true);
        Add(LayerKind::kMaxPool, packed::WindowOutput(at_, w, at_.channels)).window = w;
        return;
      }
      case 7:
        return MayAverage() ? Pool(false) : Flatten();
      case 8:
        return Chance(50) ? Flatten() : Linear();
      case 9:
        return AnyJoin(multiplies_ && Chance(30) ? LayerKind::kMultiply : LayerKind::kAdd, values);
      case 10:
        return AnyJoin(LayerKind::kAdd, values);
      default:
        return AnyJoin(LayerKind::kConcat, values);
    }
  }

  Window AnyWindow(bool pool) {
    if (Chance(25))
      return at_.height > 1 && at_.width > 1
                 ? Window{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2}
                 : Window{};
    const int32_t longest = Chance(30) ? 9 : 3, stride = Chance(20) ? 7 : 2;
    Window w{.kernel_h = Int(1, longest),
             .kernel_w = Int(1, longest),
             .stride_h = Int(1, stride),
             .stride_w = Int(1, stride)};
    w.pad_h = Int(0, pool ? w.kernel_h - 1 : Chance(10) ? 9 : 2);
    w.pad_w = Int(0, pool ? w.kernel_w - 1 : Chance(10) ? 9 : 2);
    if (!pool && Chance(15)) {
      w.dilation_h = Int(1, 4);
      w.dilation_w = Int(1, 4);
    }
    const Shape output = packed::WindowOutput(at_, w, 1);
    return output.height < 1 || output.width < 1 ? Window{} : w;
  }

  void AnyJoin(LayerKind kind, const std::vector<Value>& values) {
    const Shape full = at_;
    const auto fits = [&](const Value& value) {
      const Shape& s = value.shape;
      if (kind == LayerKind::kConcat) return s.height == full.height && s.width == full.width;
      return s.channels == full.channels && (s.height == 1 || s.height == full.height) &&
             (s.width == 1 || s.width == full.width);
    };
    std::vector<Value> others;
    std::copy_if(values.begin(), values.end(), std::back_inserter(others), fits);
    std::vector<Value> parts = {Here()};
    const int32_t most = Chance(10) ? 12 : 3;
    for (int32_t n = kind == LayerKind::kMultiply ? 1 : Int(1, most); n > 0; --n) {
      parts.push_back(
          others[static_cast<size_t>(Int(0, static_cast<int32_t>(std::ssize(others)) - 1))]);
    }
    Join(kind, parts);
  }

  void Block() {
    switch (Int(0, 6)) {
      case 0:
        return Residual();
      case 1:
        return Projected();
      case 2:
        return multiplies_ ? Gate() : Residual();
      case 3:
        return AddRepeated();
      case 4:
        return Concat();
      case 5:
        return ThreeReaders();
      default:
        return Join(LayerKind::kAdd, {Here(), Here()});  // one value twice
    }
  }

  void Residual() {
    const Value trunk = Here();
    SameConv(at_.channels);
    if (Chance(60)) {
      Activation();
      SameConv(at_.channels);
    }
    Join(LayerKind::kAdd, Chance(50) ? std::vector{trunk, Here()} : std::vector{Here(), trunk});
  }

  void Projected() {
    const Value trunk = Here();
    const int32_t outputs = Outputs(), stride = Int(1, 2);
    ConvOf({.kernel_h = 3,
            .kernel_w = 3,
            .stride_h = stride,
            .stride_w = stride,
            .pad_h = 1,
            .pad_w = 1},
           outputs);
    if (Chance(60)) {
      Activation();
      SameConv(outputs);
    }
    const Value branch = Here();
    GoTo(trunk);
    ConvOf({.stride_h = stride, .stride_w = stride}, outputs);
    Join(LayerKind::kAdd, Chance(50) ? std::vector{branch, Here()} : std::vector{Here(), branch});
  }

  /// The map times a function of what is left of it in one position, one row or one column.
  void Gate() {
    const Value trunk = Here();
    Collapse();
    ConvOf({}, at_.channels);
    if (Chance(50)) Activation();
    Join(LayerKind::kMultiply, {trunk, Here()});
  }

  void AddRepeated() {
    const Value trunk = Here();
    Collapse();
    if (Chance(50)) ConvOf({}, at_.channels);
    Join(LayerKind::kAdd, {trunk, Here()});
  }

  void Concat() {
    const Value trunk = Here();
    std::vector<Value> parts;
    for (int32_t branches = Int(1, 3); branches > 0; --branches) {
      GoTo(trunk);
      SameConv(Outputs());
      if (Chance(40)) Activation();
      parts.push_back(Here());
    }
    if (parts.size() == 1 || Chance(40)) parts.insert(parts.begin() + Int(0, 1), trunk);
    Join(LayerKind::kConcat, parts);
  }

  void ThreeReaders() {
    const Value trunk = Here();
    SameConv(at_.channels);
    const Value first = Here();
    GoTo(trunk);
    SameConv(at_.channels);
    Join(LayerKind::kAdd, {first, Here(), trunk});
  }

  void Activation() {
    if (Chance(50)) {
      Add(LayerKind::kRelu, at_);
    } else if (Chance(80)) {
      Kwta();
    } else if (MayBeSmooth()) {
      Smooth();
    }
  }

  /// Averages of averages multiplied would be no multiples of what exact sums are counted in.
  bool MayAverage() const { return !options_.exact || IsI8() || !multiplies_; }

  void Collapse() {
    const bool average = (!options_.exact || IsI8()) && Chance(50);
    const int32_t which = Int(0, 2);
    const Window w{.kernel_h = which == 1 ? 1 : at_.height, .kernel_w = which == 2 ? 1 : at_.width};
    Add(average ? LayerKind::kAvgPool : LayerKind::kMaxPool,
        packed::WindowOutput(at_, w, at_.channels))
        .window = w;
  }

  int32_t Outputs() { return IsI8() && Chance(40) ? 16 * Int(1, 3) : Int(1, 4) * Int(1, 8); }

  /// Height and width stay.
  void SameConv(int32_t outputs) {
    const int32_t pad = Chance(70) ? 1 : 0, apart = Chance(15) ? Int(1, 3) : 1;
    ConvOf({.kernel_h = 1 + 2 * pad,
            .kernel_w = 1 + 2 * pad,
            .pad_h = pad * apart,
            .pad_w = pad * apart,
            .dilation_h = apart,
            .dilation_w = apart},
           outputs);
  }

  void ConvOf(const Window& window, int32_t outputs) {
    const bool depthwise = outputs == at_.channels && (Chance(20) || outputs > 64);
    packed::Packing packing;
    if (depthwise) {
      packing.lanes = Int(1, 16);
    } else {
      packing = RandomPacking(at_.channels);
    }
    Layer& layer = Add(depthwise ? LayerKind::kDepthwiseConv2d : LayerKind::kConv2d,
                       packed::WindowOutput(at_, window, outputs));
    layer.window = window;
    layer.packing = packing;
    FillWeights(layer);
  }

  void Join(LayerKind kind, const std::vector<Value>& parts) {
    GoTo(parts.front());
    Shape output = at_;
    if (kind == LayerKind::kConcat) {
      for (size_t i = 1; i < parts.size(); ++i) output.channels += parts[i].shape.channels;
      last_group_ = 1;
    }
    Layer& layer = Add(kind, output);
    layer.inputs.clear();
    for (const Value& part : parts) layer.inputs.push_back(part.index);
  }

  // int8: what turns sums into steps, layer by layer, from what a few samples have become by then.

  using Maps = std::vector<std::vector<int32_t>>;  // of each sample

  void FillNumbers() {
    constexpr int kSamples = 3;
    const packed::Graph graph(model_);
    const std::vector<bool> negatives_read = packed::NegativesAreRead(model_);
    const auto last = packed::LastWithWeights(model_);
    steps_ = {{model_.input_scale, model_.input_zero}};
    maps_ = {Maps(kSamples)};
    for (std::vector<int32_t>& map : maps_[0]) {
      for (int64_t i = 0; i < model_.input.elements(); ++i) {
        const float steps = std::rint(random_.Normal() / model_.input_scale);
        map.push_back(std::clamp(static_cast<int32_t>(steps) + model_.input_zero, 0, 255));
      }
    }
    size_t with_weights = 0;
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      Layer& layer = model_.layers[i];
      const std::span<const int32_t> inputs = graph.inputs(static_cast<int64_t>(i));
      const bool negatives = negatives_read[i + 1];
      if (layer.HasWeights()) {
        TakeZeroOut(layer, ValueOf(inputs[0]).zero, storage_->biases_i32[with_weights++]);
        const bool logits = static_cast<std::ptrdiff_t>(i) == last;
        logits ? FillScales(layer) : FillShifts(layer, inputs[0], negatives);
      } else if (packed::OperatorOf(layer.kind).most_inputs > 1) {
        FillJoin(layer, inputs, negatives);
      } else if (packed::OperatorOf(layer.kind).any_zero) {
        FillSteps(layer, ValueOf(inputs[0]));
      }
      maps_.push_back(Run(layer, inputs));
      steps_.push_back(packed::OutputQuantisation(layer, ValueOf(inputs[0])));
    }
  }

  const packed::Quantisation& ValueOf(int32_t value) const {
    return steps_[static_cast<size_t>(value + 1)];
  }

  /// The layer's output for each sample.
  Maps Run(const Layer& layer, std::span<const int32_t> inputs) const {
    Maps outputs;
    for (size_t b = 0; b < maps_[0].size(); ++b) {
      std::vector<packed::Map<int32_t>> maps;
      for (const int32_t value : inputs) {
        const Shape& shape =
            value < 0 ? model_.input : model_.layers[static_cast<size_t>(value)].output;
        const packed::Quantisation& steps = ValueOf(value);
        maps.push_back({shape, maps_[static_cast<size_t>(value + 1)][b], steps.zero, steps.scale});
      }
      std::vector<int32_t>& out =
          outputs.emplace_back(static_cast<size_t>(layer.output.elements()));
      packed::OperatorOf(layer.kind).run_i8(layer, maps, out);
    }
    return outputs;
  }

  /// Root mean square of x − zero, at least 1.
  static double Size(const Maps& maps, int32_t zero) {
    double sum = 0, count = 0;
    for (const std::vector<int32_t>& map : maps) {
      for (const int32_t x : map) sum += double(x - zero) * double(x - zero);
      count += static_cast<double>(map.size());
    }
    return std::max(1.0, std::sqrt(sum / count));
  }
  double SizeOf(int32_t value) const {
    return Size(maps_[static_cast<size_t>(value + 1)], ValueOf(value).zero);
  }

  /// The bias holds −zero·Σw.
  static void TakeZeroOut(const Layer& layer, int32_t zero, std::vector<int32_t>& bias_o) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    layout.ForEachSlot(layer.owner_nr, [&](int64_t, int32_t, int32_t, int64_t o, int64_t slot) {
      bias_o[static_cast<size_t>(o)] -= zero * layer.weight_i8_pnl[static_cast<size_t>(slot)];
    });
  }

  void FillScales(Layer& layer) {
    std::vector<float>& scale_o = Floats(static_cast<int64_t>(layer.bias_i32_o.size()));
    for (float& scale : scale_o) scale = (0.5f + random_.Uniform()) / 4096.0f;
    layer.scale_o = scale_o;
  }

  /// Zero and the size that values should have about it.
  double DrawZero(Layer& layer, bool needs_sign) {
    if (needs_sign || Chance(10)) layer.output_zero = packed::kSignedZero;
    return layer.output_zero > 0 ? 50 : 100;
  }

  void FillShifts(Layer& layer, int32_t input, bool needs_sign) {
    const double size = Size(Run(layer, {&input, 1}), 0);  // without shifts these are sums
    const double wanted = DrawZero(layer, needs_sign);
    const auto usual = static_cast<int32_t>(std::log2(size / wanted));
    std::vector<uint8_t>& shift_o = storage_->bytes.emplace_back(layer.bias_i32_o.size());
    for (uint8_t& shift : shift_o) {
      shift = static_cast<uint8_t>(std::clamp(usual + Int(-1, 1), 0, 20));
      if (Chance(3)) shift = static_cast<uint8_t>(20 * Int(0, 1));
    }
    layer.shift_o = shift_o;
    layer.output_scale = std::ldexp(model_.input_scale, Int(-1, 1));
  }

  void FillJoin(Layer& layer, std::span<const int32_t> inputs, bool needs_sign) {
    bool negative = false;
    double least = ValueOf(inputs[0]).scale;
    for (const int32_t value : inputs) {
      negative |= ValueOf(value).zero > 0;
      least = std::min<double>(least, ValueOf(value).scale);
    }
    const double wanted = DrawZero(layer, negative && needs_sign);
    if (layer.kind == LayerKind::kMultiply) {
      const double size = SizeOf(inputs[0]) * SizeOf(inputs[1]);
      layer.output_shift =
          static_cast<uint8_t>(std::clamp(static_cast<int32_t>(std::log2(size / wanted)), 0, 12));
      layer.output_scale = static_cast<float>(std::ldexp(
          double{ValueOf(inputs[0]).scale} * ValueOf(inputs[1]).scale, layer.output_shift));
      return;
    }
    double square = 0;
    for (const int32_t value : inputs) {
      const int shift = std::ilogb(ValueOf(value).scale / least);
      layer.input_shift.push_back(static_cast<uint8_t>(shift));
      square += std::pow(std::ldexp(SizeOf(value), shift), 2);
    }
    if (layer.kind == LayerKind::kConcat) square /= static_cast<double>(inputs.size());
    const auto usual = static_cast<int32_t>(std::rint(std::log2(std::sqrt(square) / wanted)));
    layer.output_shift = static_cast<uint8_t>(std::clamp(usual + Int(0, 1), 0, 12));
    layer.output_scale = static_cast<float>(std::ldexp(least, layer.output_shift));
  }

  bool multiplies_ = false;
  std::vector<packed::Quantisation> steps_;  // of value v: entry v + 1
  std::vector<Maps> maps_;                   // the same
};

}  // namespace

packed::Model MakeRandomGraph(uint64_t seed, const RandomModelOptions& options) {
  return GraphBuilder(seed, options).Build();
}

packed::Model MakeRandomI8Graph(uint64_t seed, const RandomModelOptions& options) {
  return GraphBuilder(seed, options).BuildI8();
}

}  // namespace bisparse
