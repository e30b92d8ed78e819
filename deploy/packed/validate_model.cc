// SPDX-License-Identifier: Apache-2.0
// ValidateModel: everything that the engine relies on without looking again. The order matters: who reads whom before the
// graph is walked, sizes before what they bound, so that no loop runs past a span and no product overflows, whatever a file
// says. What a layer must hold is its operator's to say (deploy/ops). Read first: model.h, layer_check.h. Tested in:
// model_test.cc, model_i8_test.cc, graph_test.cc.
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/frontend/log_mel.h"
#include "deploy/frontend/pixels.h"
#include "deploy/ops/operator.h"
#include "deploy/packed/detection.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/model.h"

namespace bisparse::packed {
namespace {

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

/// Names, kinds, and who reads whom. Afterwards a graph may be walked and operators be asked.
void CheckGraph(const Model& model, const std::string& location) {
  const Graph graph(model);
  const auto layers = static_cast<int64_t>(model.layers.size());
  std::set<std::string_view> seen;
  for (int64_t i = 0; i < layers; ++i) {
    const Layer& layer = model.layers[static_cast<size_t>(i)];
    CheckName(fmt::format("the name of layer {}", i), layer.name, location);
    const auto refuse = [&]<class... Args>(fmt::format_string<Args...> text, Args&&... args) {
      Fail(ErrorKind::kData, fmt::format("{}: layer '{}'", location, layer.name), text,
           std::forward<Args>(args)...);
    };
    if (!seen.insert(layer.name).second) refuse("another layer has this name too");
    if (layer.kind > kLastLayerKind) refuse("kind = {} is unknown", int(layer.kind));
    const int64_t most = OperatorOf(layer.kind).most_inputs, least = most == 1 ? 1 : 2;
    const auto inputs = std::ssize(graph.inputs(i));
    if (inputs < least || inputs > most) {
      refuse("inputs = {}, {} has {} to {}", inputs, LayerKindName(layer.kind), least, most);
    }
    for (const int32_t value : graph.inputs(i)) {
      if (value >= -1 && value < i) continue;
      refuse("reads layer {}, only those before it are allowed: -1 (the input) to {}", value,
             i - 1);
    }
  }
  for (int64_t i = 0; i + 1 < layers; ++i) {
    if (!graph.readers(i).empty()) continue;
    Fail(ErrorKind::kData,
         fmt::format("{}: layer '{}'", location, model.layers[static_cast<size_t>(i)].name),
         "no layer reads its output (hint: the last layer gives the network's)");
  }
}

/// Each layer by its operator, and what all of them together ask for.
void CheckLayers(const Model& model, const std::string& location) {
  const Graph graph(model);
  const bool i8 = model.format == NumberFormat::kI8;
  const std::vector<bool> negatives_read = NegativesAreRead(model);
  const ptrdiff_t last = LastWithWeights(model);
  std::vector<LayerCheck::Input> values = {
      {model.input, {model.input_scale, model.input_zero}}};  // entry v + 1 is value v
  Size work = 0, weights = 0;
  for (ptrdiff_t i = 0; i < std::ssize(model.layers); ++i) {
    const auto at = static_cast<size_t>(i);
    const Layer& layer = model.layers[at];
    std::vector<LayerCheck::Input> inputs;
    for (const int32_t value : graph.inputs(i)) {
      inputs.push_back(values[static_cast<size_t>(value + 1)]);
    }
    const LayerCheck check(layer, std::move(inputs), model.format, i8 && i == last,
                           i8 && negatives_read[at + 1], location);
    if (layer.input != check.inputs[0].shape) {
      check.Refuse("input = {}, what it reads is {}", Text(layer.input),
                   Text(check.inputs[0].shape));
    }
    check.CheckShape("output", layer.output);
    if (layer.window.IsDilated() && !OperatorOf(layer.kind).has_window) {
      check.Refuse("dilation = {}x{}, {} has no window", layer.window.dilation_h,
                   layer.window.dilation_w, LayerKindName(layer.kind));
    }
    const bool has_table = i8 && OperatorOf(layer.kind).has_table;
    check.CheckSize("table", layer.table, has_table ? kTableSize : 0);
    OperatorOf(layer.kind).check(check);
    values.push_back({layer.output, OutputQuantisation(layer, check.inputs[0].steps)});
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
  CheckGraph(model, location);
  if (model.format == NumberFormat::kI8) {
    const std::string fault = I8Fault(model);
    if (!fault.empty()) Fail(ErrorKind::kData, location, "{}", fault);
    if (model.input_zero != 0 && InputIsUnsigned(model)) {
      Fail(ErrorKind::kData, location,
           "input_zero = {}, 0 expected where only relus and kwtas read the input",
           model.input_zero);
    }
  }
  CheckLayers(model, location);
  CheckClassNames(model, location);
  if (model.front_end) CheckFrontEnd(model, location);
  if (model.pictures) {
    const std::string fault = model.front_end ? "stands beside front_end, one of them is allowed"
                                              : PictureInputFault(*model.pictures, model.input);
    if (!fault.empty()) Fail(ErrorKind::kData, location + ": pictures", "{}", fault);
  }
  if (model.detection) {
    const std::string fault = DetectionFault(*model.detection, model.class_names);
    if (!fault.empty()) Fail(ErrorKind::kData, location + ": detection", "{}", fault);
  }
  const double accuracy = model.provenance.validation_accuracy;
  if (!std::isfinite(accuracy) || accuracy > 1.0) {
    Fail(ErrorKind::kData, location,
         "validation_accuracy = {} is no fraction (negative = not known)", accuracy);
  }
}

}  // namespace bisparse::packed
