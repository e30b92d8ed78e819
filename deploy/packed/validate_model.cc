// SPDX-License-Identifier: Apache-2.0
// ValidateModel: everything that the engine relies on without looking again. The order matters:
// sizes before what they bound, so that no loop runs past a span and no product overflows, whatever
// a file says. Read first: model.h, layout.h. Tested in: model_test.cc.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/frontend/log_mel.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/model.h"
#include "deploy/packed/pack.h"

namespace bisparse::packed {
namespace {

constexpr float kMaxLogitScale = 0x1p96f;  // times a sum of 2^31: a float
constexpr int32_t kMaxShift = 30;          // 2^(shift − 1) and what it is added to fit 32 bits

std::string Text(const Shape& s) { return fmt::format("{}x{}x{}", s.height, s.width, s.channels); }

bool IsSane(const Shape& s) {
  const auto sane = [](int32_t size) { return 1 <= size && size <= kMaxElements; };
  return sane(s.height) && sane(s.width) && sane(s.channels) &&
         Size(s.height) * s.width * s.channels <= kMaxElements;
}

bool IsScale(float scale) { return std::isfinite(scale) && scale > 0.0f; }

class LayerCheck {
 public:
  /// `last`: no layer behind has weights.
  LayerCheck(const Layer& layer, NumberFormat format, bool last, const std::string& location)
      : layer_(layer),
        format_(format),
        last_(last),
        location_(fmt::format("{}: layer '{}'", location, layer.name)) {}

  void Check() const {
    if (layer_.kind > kLastLayerKind) Refuse("kind = {} is unknown", int(layer_.kind));
    CheckShape("output", layer_.output);
    switch (layer_.kind) {
      case LayerKind::kConv2d:
        CheckWindow(layer_.output.channels, /*pool=*/false);
        CheckPacked();
        return;
      case LayerKind::kDepthwiseConv2d:
        CheckWindow(layer_.input.channels, /*pool=*/false);
        if (layer_.packing.set_size != 1) {
          Refuse("set_size = {}, a depthwise convolution has 1", layer_.packing.set_size);
        }
        CheckPacked();
        return;
      case LayerKind::kLinear:
        CheckOutput({1, 1, layer_.output.channels});
        CheckPacked();
        return;
      case LayerKind::kAffine:
        CheckOutput(layer_.input);
        CheckFloats("weight_pnl (scale)", layer_.weight_pnl, layer_.input.channels);
        CheckFloats("bias_o (shift)", layer_.bias_o, layer_.input.channels);
        CheckNoOwners();
        CheckNoI8();
        return;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        CheckWindow(layer_.input.channels, /*pool=*/true);
        break;
      case LayerKind::kRelu:
        CheckOutput(layer_.input);
        break;
      case LayerKind::kKwta:
        CheckOutput(layer_.input);
        CheckKwta();
        break;
      case LayerKind::kFlatten:
        CheckOutput({1, 1, static_cast<int32_t>(layer_.input.elements())});
        break;
      case LayerKind::kAdd:
      case LayerKind::kMultiply:
      case LayerKind::kConcat:
        Refuse("kind = {} is not supported yet", LayerKindName(layer_.kind));
    }
    CheckNoF32();
    CheckNoI8();
    CheckNoOwners();
  }

  void CheckShape(const char* what, const Shape& shape) const {
    if (IsSane(shape)) return;
    Refuse("{} = {} is no map of 1 to {} elements", what, Text(shape), kMaxElements);
  }

  template <typename... Args>
  [[noreturn]] void Refuse(fmt::format_string<Args...> format, Args&&... args) const {
    Fail(ErrorKind::kData, location_, format, std::forward<Args>(args)...);
  }

 private:
  void CheckOutput(const Shape& expected) const {
    if (layer_.output == expected) return;
    Refuse("output = {}, {} of {} gives {}", Text(layer_.output), LayerKindName(layer_.kind),
           Text(layer_.input), Text(expected));
  }

  void CheckRange(const char* what, int64_t value, int64_t low, int64_t high) const {
    if (low <= value && value <= high) return;
    Refuse("{} = {} is not in [{}, {}]", what, value, low, high);
  }

  void CheckWindow(int32_t channels, bool pool) const {
    const Window& w = layer_.window;
    CheckRange("kernel_h", w.kernel_h, 1, kMaxKernel);
    CheckRange("kernel_w", w.kernel_w, 1, kMaxKernel);
    CheckRange("stride_h", w.stride_h, 1, kMaxKernel);
    CheckRange("stride_w", w.stride_w, 1, kMaxKernel);
    // A pool's window that lies in the padding alone would have nothing to take the maximum of.
    CheckRange("pad_h", w.pad_h, 0, pool ? w.kernel_h - 1 : kMaxKernel);
    CheckRange("pad_w", w.pad_w, 0, pool ? w.kernel_w - 1 : kMaxKernel);
    const Shape expected = WindowOutput(layer_.input, w, channels);
    if (expected.height < 1 || expected.width < 1) {
      Refuse("a kernel of {}x{} does not fit into {} padded by {} and {}", w.kernel_h, w.kernel_w,
             Text(layer_.input), w.pad_h, w.pad_w);
    }
    CheckOutput(expected);
    if (PaddedElements(layer_) > kMaxElements) {
      Refuse("input {} padded by pad_h = {} and pad_w = {} has {} elements, at most {} are allowed",
             Text(layer_.input), w.pad_h, w.pad_w, PaddedElements(layer_).value(), kMaxElements);
    }
  }

  template <typename T>
  void CheckSize(const char* what, std::span<const T> values, int64_t expected) const {
    if (static_cast<int64_t>(values.size()) == expected) return;
    Refuse("{} has {} {}, {} expected", what, values.size(),
           std::is_same_v<T, float> ? "floats" : "integers", expected);
  }

  void CheckNoF32() const {
    CheckSize("weight_pnl", layer_.weight_pnl, 0);
    CheckSize("bias_o", layer_.bias_o, 0);
  }

  void CheckNoI8() const {
    CheckSize("weight_i8_pnl", layer_.weight_i8_pnl, 0);
    CheckSize("bias_i32_o", layer_.bias_i32_o, 0);
    CheckSize("shift_o", layer_.shift_o, 0);
    CheckSize("scale_o", layer_.scale_o, 0);
    if (layer_.output_scale != 0.0f) {
      Refuse("output_scale = {}, 0 expected", layer_.output_scale);
    }
  }

  void CheckFloats(const char* what, std::span<const float> floats, int64_t expected) const {
    CheckSize(what, floats, expected);
    for (size_t i = 0; i < floats.size(); ++i) {
      if (!std::isfinite(floats[i]))
        Refuse("{}[{}] is {}, not a finite number", what, i, floats[i]);
    }
  }

  void CheckNoOwners() const {
    if (!layer_.owner_nr.empty()) Refuse("has {} owners, 0 expected", layer_.owner_nr.size());
  }

  void CheckPacked() const {
    const std::string fault = LayoutFault(layer_.kernel(), layer_.packing);
    if (!fault.empty()) Refuse("{}", fault);
    const Layout layout(layer_.kernel(), layer_.packing);
    ValidateOwners(layout, layer_.owner_nr, location_);
    if (format_ == NumberFormat::kI8) return CheckPackedI8(layout);
    CheckNoI8();
    CheckFloats("weight_pnl", layer_.weight_pnl, layout.slots());
    CheckFloats("bias_o", layer_.bias_o, layout.outputs_padded());
    CheckPadding(layout, "weight_pnl", layer_.weight_pnl, "bias_o", layer_.bias_o);
  }

  void CheckPackedI8(const Layout& layout) const {
    CheckNoF32();
    CheckSize("weight_i8_pnl", layer_.weight_i8_pnl, layout.slots());
    CheckSize("bias_i32_o", layer_.bias_i32_o, layout.outputs_padded());
    CheckSize("shift_o", layer_.shift_o, last_ ? 0 : layout.outputs_padded());
    CheckSize("scale_o", layer_.scale_o, last_ ? layout.outputs_padded() : 0);
    for (size_t i = 0; i < layer_.weight_i8_pnl.size(); ++i) {
      if (layer_.weight_i8_pnl[i] == -128) {
        Refuse("weight_i8_pnl[{}] is -128, not in [-127, 127]", i);
      }
    }
    for (size_t o = 0; o < layer_.shift_o.size(); ++o) {
      if (layer_.shift_o[o] > kMaxShift) {
        Refuse("shift_o[{}] is {}, not in [0, {}]", o, layer_.shift_o[o], kMaxShift);
      }
    }
    for (size_t o = 0; o < layer_.scale_o.size(); ++o) {
      if (!IsScale(layer_.scale_o[o])) {
        Refuse("scale_o[{}] is {}, not a finite number above 0", o, layer_.scale_o[o]);
      }
      if (layer_.scale_o[o] > kMaxLogitScale) {
        Refuse("scale_o[{}] is {}, at most {} keeps every logit finite", o, layer_.scale_o[o],
               kMaxLogitScale);
      }
    }
    if (last_ && layer_.output_scale != 0.0f) {
      Refuse("output_scale = {}, 0 expected: logits are floats", layer_.output_scale);
    }
    if (!last_ && !IsScale(layer_.output_scale)) {
      Refuse("output_scale = {} is not a finite number above 0", layer_.output_scale);
    }
    CheckPadding(layout, "weight_i8_pnl", layer_.weight_i8_pnl, "bias_i32_o", layer_.bias_i32_o);
    CheckSums(layout);
  }

  // In whatever order a kernel adds, with every activation 255, no sum leaves 32 bits.
  void CheckSums(const Layout& layout) const {
    std::vector<int64_t> magnitude_o(static_cast<size_t>(layout.outputs_padded()));
    layout.ForEachSlot(layer_.owner_nr, [&](int64_t, int32_t, int32_t, int64_t o, int64_t slot) {
      magnitude_o[o] += 255 * std::abs(layer_.weight_i8_pnl[slot]);
    });
    for (size_t o = 0; o < magnitude_o.size(); ++o) {
      int64_t sum = magnitude_o[o] + std::abs(int64_t{layer_.bias_i32_o[o]});
      if (!last_ && layer_.shift_o[o] > 0) sum += int64_t{1} << (layer_.shift_o[o] - 1);
      if (sum > std::numeric_limits<int32_t>::max()) {
        Refuse(
            "output {}: 255 x the sum of |weight_i8_pnl| + |bias_i32_o| + rounding = {} does not "
            "fit 32 bits",
            o, sum);
      }
    }
  }

  // Engines compute with whole registers: what lies past the last kernel must add nothing.
  template <typename Weight, typename Bias>
  void CheckPadding(const Layout& layout, const char* weight_name,
                    std::span<const Weight> weight_pnl, const char* bias_name,
                    std::span<const Bias> bias_o) const {
    for (int64_t o = layout.shape.outputs; o < layout.outputs_padded(); ++o) {
      if (bias_o[o] != 0) {
        Refuse("{}[{}] is {}, outside of the {} outputs it must be 0", bias_name, o, bias_o[o],
               layout.shape.outputs);
      }
    }
    if (layout.shape.outputs == layout.outputs_padded()) return;
    const int32_t n = layout.sets - 1;  // the only set with padding
    for (int64_t p = 0; p < layout.positions; ++p) {
      const int32_t s = layout.Owner(layer_.owner_nr, n, p);
      for (int32_t l = 0; l < layout.packing.lanes; ++l) {
        const Weight weight = weight_pnl[layout.Slot(p, n, l)];
        if (layout.Output(n, s, l) < layout.shape.outputs || weight == 0) continue;
        Refuse("{} at position {}, set {}, lane {} is {}, outside of the {} outputs it must be 0",
               weight_name, p, n, l, weight, layout.shape.outputs);
      }
    }
  }

  void CheckKwta() const {
    const Kwta& k = layer_.kwta;
    const int32_t channels = layer_.input.channels;
    if (k.scope > KwtaScope::kGlobal) Refuse("kwta.scope = {} is unknown", int(k.scope));
    CheckRange("kwta.groups", k.groups, 1, channels);
    CheckRange("kwta.chunk", k.chunk, 1, std::min(channels, kMaxChunk));
    if (channels % (int64_t{k.groups} * k.chunk) != 0) {
      Refuse("{} channels do not divide into {} groups of chunks of {}", channels, k.groups,
             k.chunk);
    }
    int64_t units = channels / k.chunk;
    if (k.scope == KwtaScope::kGlobal) units *= int64_t{layer_.input.height} * layer_.input.width;
    CheckRange("kwta.winners", k.winners, 1, units);
    if (k.winners % k.groups != 0) {
      Refuse("kwta.winners = {} do not divide into {} groups", k.winners, k.groups);
    }
  }

  const Layer& layer_;
  const NumberFormat format_;
  const bool last_;
  const std::string location_;
};

void CheckInputScale(const Model& model, const std::string& location) {
  switch (model.format) {
    case NumberFormat::kF32:
      if (model.input_scale == 0.0f && model.input_zero == 0) return;
      Fail(ErrorKind::kData, location, "input_scale = {}, input_zero = {}, 0 expected in f32",
           model.input_scale, model.input_zero);
    case NumberFormat::kI8:
      if (!IsScale(model.input_scale) || !IsScale(1.0f / model.input_scale)) {
        Fail(ErrorKind::kData, location,
             "input_scale = {} is not a finite number above 0 with a finite inverse",
             model.input_scale);
      }
      if (model.input_zero < 0 || model.input_zero > 255) {
        Fail(ErrorKind::kData, location, "input_zero = {} is not in [0, 255]", model.input_zero);
      }
      return;
  }
  Fail(ErrorKind::kData, location, "number format = {} is unknown", int(model.format));
}

void CheckName(const std::string& what, const std::string& name, const std::string& location) {
  if (!name.empty() && name.size() <= kMaxNameBytes) return;
  Fail(ErrorKind::kData, location, "{} has {} bytes, not 1 to {}", what, name.size(),
       kMaxNameBytes);
}

void CheckFrontEnd(const Model& model, const std::string& location) {
  const FrontEnd& front_end = *model.front_end;
  const std::vector<std::string> faults = FrontEndFaults(front_end);
  if (!faults.empty())
    Fail(ErrorKind::kData, location + ": front_end", "{}", fmt::join(faults, "; "));
  const Shape features{front_end.mel_count, front_end.frame_count, 1};
  if (features != model.input) {
    Fail(ErrorKind::kData, location + ": front_end", "gives {} features, the network's input is {}",
         Text(features), Text(model.input));
  }
}

void CheckClassNames(const Model& model, const std::string& location) {
  if (model.class_names.empty()) return;
  if (static_cast<int64_t>(model.class_names.size()) != model.output_count()) {
    Fail(ErrorKind::kData, location, "{} class names for {} outputs", model.class_names.size(),
         model.output_count());
  }
  std::set<std::string_view> seen;
  for (const std::string& name : model.class_names) {
    CheckName("a class name", name, location);
    if (!seen.insert(name).second)
      Fail(ErrorKind::kData, location, "two classes are named '{}'", name);
  }
}

}  // namespace

void ValidateModel(const Model& model, const std::string& location) {
  CheckName("the model's name", model.name, location);
  CheckInputScale(model, location);
  if (!IsSane(model.input)) {
    Fail(ErrorKind::kData, location, "input = {} is no map of 1 to {} elements", Text(model.input),
         kMaxElements);
  }
  if (model.layers.empty() || model.layers.size() > kMaxLayers) {
    Fail(ErrorKind::kData, location, "{} layers, not 1 to {}", model.layers.size(), kMaxLayers);
  }
  if (!Graph(model).IsChain()) {
    Fail(ErrorKind::kData, location,
         "layers that read others than the one before are not supported yet");
  }
  const ptrdiff_t last = LastWithWeights(model);
  Shape shape = model.input;
  Size work = 0, weights = 0;
  std::set<std::string_view> seen;
  for (ptrdiff_t i = 0; i < std::ssize(model.layers); ++i) {
    const Layer& layer = model.layers[i];
    CheckName(fmt::format("the name of layer {}", i), layer.name, location);
    const LayerCheck check(layer, model.format, i == last, location);
    if (!seen.insert(layer.name).second) check.Refuse("another layer has this name too");
    if (layer.input != shape) {
      check.Refuse("input = {}, what comes before gives {}", Text(layer.input), Text(shape));
    }
    check.Check();
    shape = layer.output;
    weights += DenseWeights(layer);
    if (weights > kMaxWeights) {
      check.Refuse(
          "weights = {}, were it dense, with the layers before it {}: at most {} are allowed",
          DenseWeights(layer).value(), weights.value(), kMaxWeights);
    }
    work += Work(layer);
    if (work > kMaxWork) {
      check.Refuse("work = {} a sample, with the layers before it {}: at most {} is allowed",
                   Work(layer).value(), work.value(), kMaxWork);
    }
  }
  if (model.format == NumberFormat::kI8) {
    const std::string fault = I8Fault(model);
    if (!fault.empty()) Fail(ErrorKind::kData, location, "{}", fault);
    if (model.input_zero != 0 && InputIsUnsigned(model)) {
      Fail(ErrorKind::kData, location,
           "input_zero = {}, 0 expected where a relu or kwta reads the input", model.input_zero);
    }
  }
  CheckClassNames(model, location);
  if (model.front_end) CheckFrontEnd(model, location);
  const double accuracy = model.provenance.validation_accuracy;
  if (!std::isfinite(accuracy) || accuracy > 1.0) {
    Fail(ErrorKind::kData, location,
         "validation_accuracy = {} is no fraction (negative = not known)", accuracy);
  }
}

}  // namespace bisparse::packed
