// SPDX-License-Identifier: Apache-2.0
// Read first: reference.h. Tested in: deploy/engine/engine_test.cc, reference_test.cc.
#include "deploy/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"

namespace bisparse {
namespace {

using packed::Map;
using packed::Model;

int32_t QuantiseInput(const Model& model, float x) {
  const float t = x * (1.0f / model.input_scale);
  const auto low = static_cast<float>(-model.input_zero), high = low + 255.0f;
  if (!(t > low)) return 0;  // NaN too
  return static_cast<int32_t>(std::rint(std::min(t, high))) + model.input_zero;
}

/// What layer i reads; `input` is value −1, outputs[v] value v.
template <class T>
std::vector<Map<T>> InputsOf(const Model& model, const packed::Graph& graph, size_t i,
                             const std::vector<T>& input,
                             const std::vector<std::vector<T>>& outputs) {
  std::vector<Map<T>> maps;
  for (const int32_t value : graph.inputs(static_cast<int64_t>(i))) {
    const auto at = static_cast<size_t>(value);
    maps.push_back(value < 0 ? Map<T>{model.input, input}
                             : Map<T>{model.layers[at].output, outputs[at]});
  }
  return maps;
}

}  // namespace

ReferenceRun RunReference(const Model& model, std::span<const float> features) {
  ReferenceRun run;
  const packed::Graph graph(model);
  const std::vector<float> input(features.begin(), features.end());
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const packed::Layer& layer = model.layers[i];
    std::vector<float> out(static_cast<size_t>(layer.output.elements()));
    packed::OperatorOf(layer.kind)
        .run_f32(layer, InputsOf(model, graph, i, input, run.layer_output), out,
                 run.largest_magnitude);
    run.layer_output.push_back(std::move(out));
  }
  return run;
}

ReferenceRunI8 RunReferenceI8(const Model& model, std::span<const float> features) {
  ReferenceRunI8 run;
  const packed::Layer* const affine = packed::InputAffine(model);
  for (size_t i = 0; i < features.size(); ++i) {
    const float x = affine != nullptr ? packed::AffineAt(*affine, i, features[i]) : features[i];
    run.input.push_back(QuantiseInput(model, x));
  }
  const packed::Graph graph(model);
  const std::vector<packed::Quantisation> steps = packed::Quantisations(model);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const packed::Layer& layer = model.layers[i];
    std::vector<Map<int32_t>> inputs = InputsOf(model, graph, i, run.input, run.layer_output);
    const std::span<const int32_t> values = graph.inputs(static_cast<int64_t>(i));
    for (size_t k = 0; k < inputs.size(); ++k) {
      const packed::Quantisation& of_input = steps[static_cast<size_t>(values[k] + 1)];
      inputs[k].zero = of_input.zero;
      inputs[k].scale = of_input.scale;
    }
    std::vector<int32_t> out(static_cast<size_t>(layer.output.elements()));
    packed::OperatorOf(layer.kind).run_i8(layer, inputs, out);
    run.layer_output.push_back(std::move(out));
  }
  const packed::Layer& last = model.layers[static_cast<size_t>(packed::LastWithWeights(model))];
  const std::vector<int32_t>& sums = run.layer_output.back();
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t o = i % static_cast<size_t>(last.output.channels);
    run.logits.push_back(static_cast<float>(sums[i]) * last.scale_o[o]);
  }
  return run;
}

}  // namespace bisparse
