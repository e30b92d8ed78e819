// SPDX-License-Identifier: Apache-2.0
// Read first: quantise_ranges.h.
#include "train/export/quantise_ranges.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "deploy/engine/engine_access.h"
#include "deploy/ops/activation/op.h"

namespace bisparse::train {
namespace {

using packed::Layer;
using packed::Model;

}  // namespace

void Range::Try(double x) {
  for (int j = 0; j < candidates(); ++j) {
    const double scale = Candidate(j);
    const double q = std::clamp(std::rint(x / scale), -zero(), kMaxActivation - zero());
    errors_[j] += (x - scale * q) * (x - scale * q);
  }
}

double Range::zero() const {
  switch (kind_) {
    case Zero::kFree:
      return std::rint(-low_ / Widest());
    case Zero::kNone:
      return 0;
    case Zero::kSigned:
      return packed::kSignedZero;
  }
  return 0;
}

float Range::scale() const {
  const auto best =
      std::min_element(errors_.begin(), errors_.begin() + candidates()) - errors_.begin();
  return static_cast<float>(
      std::max<double>(Candidate(static_cast<int>(best)), std::numeric_limits<float>::min()));
}

double Range::Candidate(int j) const {
  return power_of_two_ ? std::exp2(std::ceil(std::log2(Widest())) - j)
                       : Widest() * std::exp2(-j / 16.0);
}

double Range::Widest() const {
  if (is_empty()) return 1.0;
  if (kind_ != Zero::kSigned) return (high_ - low_) / kMaxActivation;
  return std::max(-low_ / packed::kSignedZero, high_ / (kMaxActivation - packed::kSignedZero));
}

Values::Values(const Model& f32)
    : f32_(f32),
      graph_(f32),
      last_(packed::LastWithWeights(f32)),
      source_{-1},
      joined_(f32.layers.size() + 1) {
  const std::vector<bool> negatives_read = packed::NegativesAreRead(f32);
  is_signed_.push_back(negatives_read[0]);
  for (int32_t i = 0; i < std::ssize(f32.layers); ++i) {
    const packed::Operator& op = OperatorOf(i);
    const std::span<const int32_t> inputs = graph_.inputs(i);
    const bool own = HasOwnSteps(i);
    source_.push_back(own ? i : source_[Entry(inputs[0])]);
    const packed::Activation* const activation = packed::FindActivation(op.kind);
    const bool negative = activation != nullptr ? activation->lowest < 0
                          : op.most_inputs == 1
                              ? own || is_signed_[Entry(inputs[0])]
                              : std::any_of(inputs.begin(), inputs.end(), [&](int32_t value) {
                                  return is_signed_[Entry(value)];
                                });
    is_signed_.push_back(negative && !op.drops_negatives && (!own || negatives_read[Entry(i)]));
    if (op.most_inputs == 1) continue;
    joined_[Entry(i)] = true;
    for (const int32_t value : inputs) joined_[Entry(source_[Entry(value)])] = true;
  }
}

std::vector<int32_t> Values::ReadAs(int32_t value) const {
  std::vector<int32_t> read;
  is_signed(value) ? read.push_back(value) : Follow(value, value, read);
  return read;
}

void Values::Follow(int32_t value, int32_t survivor, std::vector<int32_t>& read) const {
  bool ends = graph_.readers(value).empty();
  for (const int32_t reader : graph_.readers(value)) {
    if (HasOwnSteps(reader)) {
      ends = true;
    } else {
      Follow(reader, OperatorOf(reader).drops_negatives ? reader : survivor, read);
    }
  }
  if (ends) read.push_back(survivor);
}

std::vector<Range> FindRanges(const Model& f32, const Values& values,
                              std::span<const float> samples_bi) {
  std::vector<Range> ranges = {Range(Zero::kFree, values.joined(-1))};
  std::vector<std::vector<Range*>> ranges_of(f32.layers.size());  // that a layer's map belongs to
  ranges.reserve(f32.layers.size() + 1);
  for (int32_t i = 0; i < values.count(); ++i) {
    const bool any_zero = values.OperatorOf(i).any_zero;
    ranges.emplace_back(!values.is_signed(i) ? Zero::kNone
                        : any_zero           ? Zero::kFree
                                             : Zero::kSigned,
                        values.joined(i));
    if (!values.HasOwnSteps(i) || values.IsLogits(i)) continue;
    for (const int32_t value : values.ReadAs(i)) {
      ranges_of[static_cast<size_t>(value)].push_back(&ranges.back());
    }
  }
  const bool positive = packed::InputIsUnsigned(f32);
  const Layer* const affine = packed::InputAffine(f32);
  const Engine engine = EngineAccess::FromModel(f32);
  const auto floats = static_cast<size_t>(f32.input.elements());
  for (void (Range::*const add)(double) : {&Range::Widen, &Range::Try}) {
    for (size_t begin = 0; begin < samples_bi.size(); begin += floats) {
      const std::span<const float> features = samples_bi.subspan(begin, floats);
      for (size_t i = 0; i < features.size(); ++i) {
        const float x = affine ? packed::AffineAt(*affine, i, features[i]) : features[i];
        (ranges[0].*add)(positive ? std::max(x, 0.0f) : x);
      }
      EngineAccess::RunTraced(engine, features, [&](size_t i, std::span<const float> map) {
        for (Range* const range : ranges_of[i]) {
          for (const float y : map) {
            if (y > 0.0f || (y < 0.0f && range->HoldsNegatives())) (range->*add)(y);
          }
        }
      });
    }
  }
  return ranges;
}

}  // namespace bisparse::train
