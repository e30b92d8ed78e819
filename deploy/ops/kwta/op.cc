// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/kwta/op.h"

#include <algorithm>
#include <vector>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  check.CheckOutput(check.layer.input);
  const Kwta& k = check.layer.kwta;
  const Shape& input = check.layer.input;
  const int32_t channels = input.channels;
  if (k.scope > KwtaScope::kGlobal) check.Refuse("kwta.scope = {} is unknown", int(k.scope));
  check.CheckRange("kwta.groups", k.groups, 1, channels);
  check.CheckRange("kwta.chunk", k.chunk, 1, std::min(channels, kMaxChunk));
  if (channels % (int64_t{k.groups} * k.chunk) != 0) {
    check.Refuse("{} channels do not divide into {} groups of chunks of {}", channels, k.groups,
                 k.chunk);
  }
  int64_t units = channels / k.chunk;
  if (k.scope == KwtaScope::kGlobal) units *= int64_t{input.height} * input.width;
  check.CheckRange("kwta.winners", k.winners, 1, units);
  if (k.winners % k.groups != 0) {
    check.Refuse("kwta.winners = {} do not divide into {} groups", k.winners, k.groups);
  }
  check.CheckNoWeights();
}

Size CountWork(const Layer& layer) { return WorkOf(layer, 0, kWorkOfCompeting); }

/// Units of one group, of one position or of all: the first winners of a stable sort survive.
template <class T>
void KeepWinners(const Layer& layer, const Map<T>& in, int64_t first_position, int64_t positions,
                 int64_t group, std::span<T> out) {
  const Kwta& k = layer.kwta;
  const int64_t channels = layer.input.channels, width = channels / k.groups;
  std::vector<int64_t> units;  // the index of each unit's first element, ascending
  for (int64_t q = first_position; q < first_position + positions; ++q) {
    for (int64_t c = 0; c < width; c += k.chunk) units.push_back(q * channels + group * width + c);
  }
  const auto rectified = [&](int64_t i) {
    return std::max(in.x[static_cast<size_t>(i)] - static_cast<T>(in.zero), T{0});
  };
  const auto rank = [&](int64_t unit) {
    T sum = 0;
    for (int64_t i = unit; i < unit + k.chunk; ++i) sum += rectified(i);
    return sum;
  };
  std::stable_sort(units.begin(), units.end(),
                   [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  units.resize(static_cast<size_t>(k.winners / k.groups));
  for (int64_t unit : units) {
    for (int64_t i = unit; i < unit + k.chunk; ++i) out[static_cast<size_t>(i)] = rectified(i);
  }
}

template <class T>
void Run(const Layer& layer, const Map<T>& in, std::span<T> out) {
  const int64_t positions = int64_t{layer.input.height} * layer.input.width;
  const bool global = layer.kwta.scope == KwtaScope::kGlobal;
  for (int64_t group = 0; group < layer.kwta.groups; ++group) {
    if (global) KeepWinners(layer, in, 0, positions, group, out);
    for (int64_t q = 0; !global && q < positions; ++q) KeepWinners(layer, in, q, 1, group, out);
  }
}

void RunF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out, double&) {
  Run(layer, inputs[0], out);
}

void RunI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  Run(layer, inputs[0], out);
}

}  // namespace

const Operator kKwtaOperator = {.kind = LayerKind::kKwta,
                                .name = "kwta",
                                .output_steps = OutputSteps::kFromZero,
                                .drops_negatives = true,
                                .check = Check,
                                .work = CountWork,
                                .run_f32 = RunF32,
                                .run_i8 = RunI8};

}  // namespace bisparse::packed
