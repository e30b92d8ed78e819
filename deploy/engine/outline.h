// SPDX-License-Identifier: Apache-2.0
// What a plan will do, known before any weights are prepared: the kernel of each layer, for every way to compute it and on
// any instruction set. It follows from shapes and owners alone, so plans can be compared for machines that are not here.
// Read first: cost.h, plan.h. Tested in: choose_test.cc (against plans as they are made).
#ifndef BISPARSE_DEPLOY_ENGINE_OUTLINE_H_
#define BISPARSE_DEPLOY_ENGINE_OUTLINE_H_

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/engine/cost.h"
#include "deploy/packed/model.h"

namespace bisparse {

class Outline {
 public:
  /// Keeps a reference to the model, which must be valid (packed::ValidateModel).
  Outline(const packed::Model& model, std::string isa);

  const packed::Model& model() const { return model_; }
  const std::string& isa() const { return isa_; }

  /// Convolutions and linear layers: those that modes differ in, first to last.
  const std::vector<size_t>& layers_with_ways() const { return with_ways_; }
  /// Modes in which such a layer is computed differently, sparse_sparse first; of modes that agree the first one.
  const std::vector<Mode>& WaysOf(size_t i) const { return ways_i_[i].modes; }

  /// What each layer does where layer i is computed in mode_i[i]. Layers without ways do not read theirs.
  std::vector<LayerUse> Uses(std::span<const Mode> mode_i) const;
  /// Layers [begin, end) of that, into use_i of the whole network. Before begin lies no other layer with ways than begin
  /// itself that changes them; end has ways, or is the network's end. Reads the modes of begin and end alone.
  void Uses(std::span<const Mode> mode_i, size_t begin, size_t end,
            std::span<LayerUse> use_i) const;

 private:
  /// One way of a layer.
  struct Way {
    LayerUse use;
    bool reads_winners = false;
    bool pools = false;  ///< does the max-pool after it too
    size_t makes_kwta =
        0;  ///< the k-WTA that it does too, where only winners are read of it; 0: none
  };
  struct Ways {
    std::array<Way, 4> by_mode;  ///< kAuto's is not used
    std::vector<Mode> modes;
  };
  const Way& WayOf(size_t i, Mode mode) const {
    return ways_i_[i].by_mode[static_cast<size_t>(mode)];
  }
  bool HasWays(size_t i) const { return !ways_i_[i].modes.empty(); }

  Way MakeWay(size_t i, Mode mode) const;
  void MakeConvF32(size_t i, Mode mode, const packed::Layer* kwta, Way& way) const;
  void MakeConvI8(size_t i, Mode mode, const packed::Layer* kwta, Way& way) const;
  /// The k-WTA whose winners layer i could read, or null.
  const packed::Layer* KwtaBefore(size_t i) const;
  /// Of a layer without ways, by its neighbours.
  const char* KernelOf(size_t i, std::span<const Mode> mode_i) const;
  bool ReadsWinnersOf(size_t kwta, std::span<const Mode> mode_i) const;
  /// Index of the k-WTA at i, or after a ReLU at i; 0: neither.
  size_t KwtaFrom(size_t i) const;

  const packed::Model& model_;
  std::string isa_;
  bool f32_;
  std::vector<Ways> ways_i_;
  std::vector<size_t> with_ways_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_OUTLINE_H_
