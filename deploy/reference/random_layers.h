// SPDX-License-Identifier: Apache-2.0
// Layers drawn at random, one after another: what chains (random_model.cc) and graphs (random_graph.cc) are built of.
// Read first: random_model.h.
#ifndef BISPARSE_DEPLOY_REFERENCE_RANDOM_LAYERS_H_
#define BISPARSE_DEPLOY_REFERENCE_RANDOM_LAYERS_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/packed/model.h"
#include "deploy/reference/random_model.h"

namespace bisparse {

/// Each member draws one thing. The order of calls is the network, so that a seed is one network.
class RandomLayers {
 protected:
  /// What a model's spans point into; deques so that growing moves nothing.
  struct Storage {
    std::deque<std::vector<float>> floats;
    std::deque<std::vector<uint8_t>> bytes;  // owners, shifts, tables
    std::deque<std::vector<int8_t>> weights_i8;
    std::deque<std::vector<int32_t>> biases_i32;
  };

  RandomLayers(uint64_t seed, const RandomModelOptions& options);

  int32_t Int(int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random_.Below(static_cast<uint32_t>(high - low + 1)));
  }
  bool Chance(int32_t per_cent) { return Int(1, 100) <= per_cent; }
  bool IsI8() const { return model_.format == packed::NumberFormat::kI8; }
  float Weight();
  float Whole(int32_t low, int32_t high);
  std::vector<float>& Floats(int64_t n) {
    return storage_->floats.emplace_back(static_cast<size_t>(n));
  }

  /// A layer that reads the value from_, of shape at_; then these are its own.
  packed::Layer& Add(packed::LayerKind kind, const Shape& output);
  /// Some layers are laid out so that owners do not depend on which channel of a group wins.
  packed::Packing RandomPacking(int32_t channels);
  /// Owners, weights, biases. int8: what turns sums into outputs is added later.
  void FillWeights(packed::Layer& layer);

  void Conv();
  void Linear();
  void Flatten();
  void Affine();
  void Pool(bool max);
  void Kwta();
  /// Of f32 where sums need not be exact, and of int8.
  bool MayBeSmooth() const { return options_.smooth && (IsI8() || !options_.exact); }
  /// An activation or a layer_norm. int8: FillSteps follows.
  void Smooth();
  /// int8: steps that hold what an activation makes of all the steps of its input, or what a layer_norm gives, a power of
  /// two times the network's input_scale; an activation's table.
  void FillSteps(packed::Layer& layer, const packed::Quantisation& input);

  CounterRandom random_;
  const RandomModelOptions options_;
  packed::Model model_;
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  Shape at_;
  int32_t from_ = -1;
  int32_t last_group_ = 1;
  double active_ = 1.0;         // int8: the fraction of the map that is not zero, about
  double sum_deviation_ = 0.0;  // int8: of the last layer with weights

 private:
  void FillOwners(const packed::Layout& layout, packed::Layer& layer);
  void FillWeightsI8(const packed::Layout& layout, packed::Layer& layer);
  int32_t Divisor(int32_t n);
  void LayerNorm();
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_REFERENCE_RANDOM_LAYERS_H_
