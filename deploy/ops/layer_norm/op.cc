// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/layer_norm/op.h"

#include <algorithm>
#include <cmath>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

/// An element takes about as long as so many multiplications.
constexpr int64_t kWorkOfElement = 16;

void Check(const LayerCheck& check) {
  const Layer& layer = check.layer;
  check.CheckOutput(layer.input);
  check.CheckRange("channels", layer.input.channels, 1, kMaxNormChannels);
  check.CheckFloats("weight_pnl (gain)", layer.weight_pnl, layer.input.channels);
  check.CheckFloats("bias_o (bias)", layer.bias_o, layer.input.channels);
  check.CheckNoOwners();
  const auto least = static_cast<float>(kLeastEpsilon), most = static_cast<float>(kMostEpsilon);
  if (!(least <= layer.epsilon && layer.epsilon <= most)) {
    check.Refuse("epsilon = {} is not in [{}, {}]", layer.epsilon, kLeastEpsilon, kMostEpsilon);
  }
  if (check.format != NumberFormat::kI8) return check.CheckNoI8();
  check.CheckNoI8Weights();
  check.CheckNoShifts();
  check.CheckAnySteps();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, kWorkOfElement); }

/// Calls visit(i): the channels of a position begin at element i.
template <class Visit>
void ForEachPosition(const Layer& layer, const Visit& visit) {
  const auto elements = static_cast<size_t>(layer.input.elements());
  for (size_t i = 0; i < elements; i += static_cast<size_t>(layer.input.channels)) visit(i);
}

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  const auto channels = static_cast<size_t>(layer.input.channels);
  const auto count = static_cast<double>(channels);
  ForEachPosition(layer, [&](size_t begin) {
    const std::span<const float> x_c = inputs[0].x.subspan(begin, channels);
    double sum = 0, squares = 0;
    for (const float x : x_c) sum += double{x};
    const double mean = sum / count;
    for (const float x : x_c) squares += (double{x} - mean) * (double{x} - mean);
    const double factor = 1.0 / std::sqrt(squares / count + double{layer.epsilon});
    for (size_t c = 0; c < channels; ++c) {
      const double normal = (double{x_c[c]} - mean) * factor;
      out[begin + c] =
          static_cast<float>(normal * double{layer.weight_pnl[c]} + double{layer.bias_o[c]});
    }
  });
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  const auto channels = static_cast<size_t>(layer.input.channels);
  const int64_t count = layer.input.channels;
  const double epsilon = EpsilonInSteps(layer, inputs[0].scale);
  const double steps_of_one = 1.0 / double{layer.output_scale};
  const double low = -layer.output_zero, high = low + 255;
  ForEachPosition(layer, [&](size_t begin) {
    const std::span<const int32_t> q_c = inputs[0].x.subspan(begin, channels);
    int64_t sum = 0, squares = 0;
    for (const int64_t q : q_c) {
      sum += q;
      squares += q * q;
    }
    const double factor = FactorOfSteps(count, sum, squares, epsilon);
    for (size_t c = 0; c < channels; ++c) {
      const auto normal = static_cast<float>(static_cast<double>(count * q_c[c] - sum) * factor);
      const double y = double{normal} * double{layer.weight_pnl[c]} + double{layer.bias_o[c]};
      const double steps = std::clamp(std::rint(y * steps_of_one), low, high);
      out[begin + c] = static_cast<int32_t>(steps) + layer.output_zero;
    }
  });
}

}  // namespace

const Operator kLayerNormOperator = {.kind = LayerKind::kLayerNorm,
                                     .name = "layer_norm",
                                     .any_zero = true,
                                     .output_steps = OutputSteps::kOwn,
                                     .check = Check,
                                     .work = CountWork,
                                     .run_f32 = RunF32,
                                     .run_i8 = RunI8};

}  // namespace bisparse::packed
