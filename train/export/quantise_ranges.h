// SPDX-License-Identifier: Apache-2.0
// What an f32 network's values span over the samples, as its int8 twin will hold them. Part of quantise.cc.
// Read first: quantise.h. Tested in: quantise_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_QUANTISE_RANGES_H_
#define BISPARSE_TRAIN_EXPORT_QUANTISE_RANGES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model.h"

namespace bisparse::train {

inline constexpr double kMaxActivation = 255;

/// Which steps hold a value: `zero` follows from what it spans, is 0, or is kSignedZero.
enum class Zero { kFree, kNone, kSigned };

/// What a value's numbers span, and the scale that holds them with the least squared error: finer
/// steps round less and clip more. Widened to hold 0, which padding and ReLU need.
class Range {
 public:
  /// power_of_two: an add, concat or multiply reads or gives the value.
  Range(Zero zero, bool power_of_two) : kind_(zero), power_of_two_(power_of_two) {}

  void Widen(double x) {
    low_ = x < low_ ? x : low_;
    high_ = x > high_ ? x : high_;
  }
  /// For every x again, after the last Widen.
  void Try(double x);
  bool HoldsNegatives() const { return kind_ != Zero::kNone; }
  bool is_empty() const { return low_ == high_; }
  double zero() const;
  float scale() const;

 private:
  // The widest scale and 32 finer ones down to a quarter, where clipping has long cost more; of powers of two three.
  static constexpr int kCandidates = 33;
  int candidates() const { return power_of_two_ ? 3 : kCandidates; }
  double Candidate(int j) const;
  /// Holds everything.
  double Widest() const;

  Zero kind_;
  bool power_of_two_;
  double low_ = 0, high_ = 0;
  std::array<double, kCandidates> errors_{};
};

/// What the f32 network's values become. Keeps a reference to it.
class Values {
 public:
  explicit Values(const packed::Model& f32);

  /// Arrays by value have entry v + 1 for value v, −1 the input.
  static size_t Entry(int32_t value) { return static_cast<size_t>(value + 1); }
  const packed::Graph& graph() const { return graph_; }
  const packed::Layer& layer(int32_t i) const { return f32_.layers[static_cast<size_t>(i)]; }
  const packed::Operator& OperatorOf(int32_t i) const { return packed::OperatorOf(layer(i).kind); }
  int32_t count() const { return static_cast<int32_t>(f32_.layers.size()); }
  bool IsLogits(int32_t i) const { return i == last_; }
  /// The layer makes steps of its own, or the logits.
  bool HasOwnSteps(int32_t i) const {
    return OperatorOf(i).output_steps == packed::OutputSteps::kOwn;
  }
  /// The value with steps of its own whose scale `value` has.
  int32_t source(int32_t value) const { return source_[Entry(value)]; }
  /// Numbers below 0 can be, and are read.
  bool is_signed(int32_t value) const { return is_signed_[Entry(value)]; }
  /// An add, concat or multiply reads or gives numbers of its scale.
  bool joined(int32_t value) const { return joined_[Entry(value)]; }
  /// The values whose numbers tell how fine the steps of `value` should be: of a map without sign what survives the last
  /// relu or kwta before the next steps of their own, else the map itself.
  std::vector<int32_t> ReadAs(int32_t value) const;

 private:
  void Follow(int32_t value, int32_t survivor, std::vector<int32_t>& read) const;

  const packed::Model& f32_;
  const packed::Graph graph_;
  const std::ptrdiff_t last_;
  std::vector<int32_t> source_;
  std::vector<bool> is_signed_, joined_;
};

/// Of the input and of each layer's value, entry v + 1; those without steps of their own stay empty.
/// samples_bi: at least one sample.
std::vector<Range> FindRanges(const packed::Model& f32, const Values& values,
                              std::span<const float> samples_bi);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_QUANTISE_RANGES_H_
