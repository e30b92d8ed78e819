// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/activation/op.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "deploy/base/check.h"
#include "deploy/ops/shared/join.h"
#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

/// An element takes about as long as so many multiplications.
constexpr int64_t kWorkOfFunction = 32;

constexpr Activation kActivations[] = {
    {LayerKind::kSigmoid, "sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, 0.25},
    {LayerKind::kHardSwish, "hard_swish",
     [](double x) { return x * (std::clamp(x + 3, 0.0, 6.0) / 6); }, 1.5, -0.375},
    {LayerKind::kGelu, "gelu", [](double x) { return x * (std::erfc(-x * M_SQRT1_2) / 2); },
     1.12890415, -0.16997121},
};

void Check(const LayerCheck& check) {
  check.CheckOutput(check.layer.input);
  CheckNoParameters(check);
  if (check.format != NumberFormat::kI8) return check.CheckNoI8();
  check.CheckNoShifts();
  check.CheckAnySteps();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, kWorkOfFunction); }

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  const Activation& activation = *FindActivation(layer.kind);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(activation.f(double{inputs[0].x[i]}));
  }
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = layer.table[static_cast<size_t>(inputs[0].x[i])];
  }
}

std::array<Operator, std::size(kActivations)> MakeOperators() {
  std::array<Operator, std::size(kActivations)> operators{};
  for (size_t i = 0; i < operators.size(); ++i) {
    operators[i] = {.kind = kActivations[i].kind,
                    .name = kActivations[i].name,
                    .has_table = true,
                    .any_zero = true,
                    .output_steps = OutputSteps::kOwn,
                    .check = Check,
                    .work = CountWork,
                    .run_f32 = RunF32,
                    .run_i8 = RunI8};
  }
  return operators;
}

}  // namespace

std::span<const Activation> Activations() { return kActivations; }

const Activation* FindActivation(LayerKind kind) {
  const auto* const found = std::find_if(std::begin(kActivations), std::end(kActivations),
                                         [&](const Activation& a) { return a.kind == kind; });
  return found == std::end(kActivations) ? nullptr : found;
}

std::span<const Operator> ActivationOperators() {
  static const auto operators = MakeOperators();
  return operators;
}

std::vector<uint8_t> ActivationTable(const Activation& activation, const Quantisation& input,
                                     const Quantisation& output) {
  BISPARSE_CHECK(IsScale(input.scale) && IsScale(output.scale));
  std::vector<uint8_t> table;
  for (int32_t q = 0; q < kTableSize; ++q) {
    const double y = activation.f(double{input.scale} * (q - input.zero));
    const double steps = std::rint(y / double{output.scale}) + output.zero;
    table.push_back(static_cast<uint8_t>(std::clamp(steps, 0.0, 255.0)));
  }
  return table;
}

}  // namespace bisparse::packed
