// SPDX-License-Identifier: Apache-2.0
// ValidateModel: everything that the engine relies on without looking again. The order matters:
// sizes before what they bound, so that no loop runs past a span and no product overflows, whatever
// a file says. Read first: model.h, layout.h. Tested in: model_test.cc.
#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "deploy/base/check.h"
#include "deploy/frontend/log_mel.h"
#include "deploy/packed/model.h"
#include "deploy/packed/pack.h"

namespace bisparse::packed {
namespace {

// Above these a file asks for memory that no network for a CPU needs: 2^26 floats are 256 MiB.
constexpr int64_t kMaxElements = int64_t{1} << 26;
constexpr size_t kMaxLayers = 4096;
constexpr size_t kMaxNameBytes = 256;

std::string Text(const Shape& s) { return fmt::format("{}x{}x{}", s.height, s.width, s.channels); }

bool IsSane(const Shape& s) {
  const auto sane = [](int32_t size) { return 1 <= size && size <= kMaxElements; };
  // Two factors at a time: three of 2^26 overflow.
  return sane(s.height) && sane(s.width) && sane(s.channels) &&
         int64_t{s.height} * s.width <= kMaxElements && s.elements() <= kMaxElements;
}

class LayerCheck {
 public:
  LayerCheck(const Layer& layer, const std::string& location)
      : layer_(layer), location_(fmt::format("{}: layer '{}'", location, layer.name)) {}

  void Check() const {
    if (layer_.kind > LayerKind::kFlatten) Refuse("kind = {} is unknown", int(layer_.kind));
    CheckShape("output", layer_.output);
    switch (layer_.kind) {
      case LayerKind::kConv2d:
        CheckWindow(layer_.output.channels, /*pool=*/false);
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
    }
    CheckFloats("weight_pnl", layer_.weight_pnl, 0);
    CheckFloats("bias_o", layer_.bias_o, 0);
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
  }

  void CheckFloats(const char* what, std::span<const float> floats, int64_t expected) const {
    if (static_cast<int64_t>(floats.size()) != expected) {
      Refuse("{} has {} floats, {} expected", what, floats.size(), expected);
    }
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
    CheckFloats("weight_pnl", layer_.weight_pnl, layout.slots());
    CheckFloats("bias_o", layer_.bias_o, layout.outputs_padded());
    ValidateOwners(layout, layer_.owner_nr, location_);
    CheckPadding(layout);
  }

  // Engines compute with whole registers: what lies past the last kernel must add nothing.
  void CheckPadding(const Layout& layout) const {
    for (int64_t o = layout.shape.outputs; o < layout.outputs_padded(); ++o) {
      if (layer_.bias_o[o] != 0.0f) {
        Refuse("bias_o[{}] is {}, outside of the {} outputs it must be 0", o, layer_.bias_o[o],
               layout.shape.outputs);
      }
    }
    if (layout.shape.outputs == layout.outputs_padded()) return;
    const int32_t n = layout.sets - 1;  // the only set with padding
    for (int64_t p = 0; p < layout.positions; ++p) {
      const int32_t s =
          layout.packing.set_size > 1 ? layer_.owner_nr[n * layout.runs + layout.RunOf(p)] : 0;
      for (int32_t l = 0; l < layout.packing.lanes; ++l) {
        const float weight = layer_.weight_pnl[layout.Slot(p, n, l)];
        if (layout.Output(n, s, l) < layout.shape.outputs || weight == 0.0f) continue;
        Refuse(
            "weight_pnl at position {}, set {}, lane {} is {}, outside of the {} outputs it must "
            "be 0",
            p, n, l, weight, layout.shape.outputs);
      }
    }
  }

  void CheckKwta() const {
    const Kwta& k = layer_.kwta;
    const int32_t channels = layer_.input.channels;
    if (k.scope > KwtaScope::kGlobal) Refuse("kwta.scope = {} is unknown", int(k.scope));
    CheckRange("kwta.groups", k.groups, 1, channels);
    CheckRange("kwta.chunk", k.chunk, 1, channels);
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
  const std::string location_;
};

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
  if (!IsSane(model.input)) {
    Fail(ErrorKind::kData, location, "input = {} is no map of 1 to {} elements", Text(model.input),
         kMaxElements);
  }
  if (model.layers.empty() || model.layers.size() > kMaxLayers) {
    Fail(ErrorKind::kData, location, "{} layers, not 1 to {}", model.layers.size(), kMaxLayers);
  }
  Shape shape = model.input;
  std::set<std::string_view> seen;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    CheckName(fmt::format("the name of layer {}", i), layer.name, location);
    const LayerCheck check(layer, location);
    if (!seen.insert(layer.name).second) check.Refuse("another layer has this name too");
    if (layer.input != shape) {
      check.Refuse("input = {}, what comes before gives {}", Text(layer.input), Text(shape));
    }
    check.Check();
    shape = layer.output;
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
