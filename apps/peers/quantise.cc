// SPDX-License-Identifier: Apache-2.0
// Read first: quantise.h. Tested in: network_test.cc.
#include "apps/peers/quantise.h"

#include <algorithm>
#include <cmath>

#include "deploy/engine/engine_access.h"

namespace bisparse::peers {
namespace {

void Extend(Range& range, std::span<const float> map) {
  for (const float x : map) {
    range.low = std::min(range.low, x);
    range.high = std::max(range.high, x);
  }
}

}  // namespace

Ranges Calibrate(const packed::Model& model, const DenseNetwork& network,
                 std::span<const float> x_bi) {
  const Engine engine = EngineAccess::FromModel(model, {.mode = Mode::kDense});
  std::vector<Range> model_ranges(model.layers.size());
  const auto elements = static_cast<size_t>(model.input.elements());
  for (size_t b = 0; b < x_bi.size() / elements; ++b) {
    EngineAccess::RunTraced(
        engine, x_bi.subspan(b * elements, elements),
        [&](size_t i, std::span<const float> output) { Extend(model_ranges[i], output); });
  }
  Ranges ranges;
  Extend(ranges.input, x_bi);
  for (const DenseLayer& layer : network.layers) {
    Range range = model_ranges[layer.source];
    if (layer.nonnegative) range.low = 0;
    ranges.layers.push_back(range);
  }
  return ranges;
}

Steps StepsOf(const Range& range) {
  const float width = range.high - range.low;
  if (width == 0) return {};
  const float scale = width / 255;
  return {scale, static_cast<uint8_t>(std::lround(-range.low / scale))};
}

QuantisedWeights QuantiseWeights(const DenseLayer& layer) {
  QuantisedWeights q;
  q.weight_op.resize(layer.weight_op.size());
  const size_t outputs = layer.bias_o.size(), positions = layer.weight_op.size() / outputs;
  for (size_t o = 0; o < outputs; ++o) {
    const auto weight_p = std::span(layer.weight_op).subspan(o * positions, positions);
    float largest = 0;
    for (const float w : weight_p) largest = std::max(largest, std::abs(w));
    const float scale = largest == 0 ? 1 : largest / 127;
    q.scale_o.push_back(scale);
    for (size_t p = 0; p < positions; ++p) {
      q.weight_op[o * positions + p] = static_cast<int8_t>(std::lround(weight_p[p] / scale));
    }
  }
  return q;
}

}  // namespace bisparse::peers
