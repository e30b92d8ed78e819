// SPDX-License-Identifier: Apache-2.0
// What a network will do, known before any weights are prepared: the kernel of each layer for every way to compute it, on
// any instruction set, and which layers are done by their neighbours. It follows from shapes and owners alone, so plans can
// be compared for machines that are not here. The plan (plan.h) prepares what this says.
//
// A layer is done by a neighbour only where that neighbour is the one producer or the one reader of the value between them:
//   max_pool  by the convolution before it, or by the k-WTA after it
//   relu      by the layer before it, or by the k-WTAs after it
//   kwta      by the convolution before it, where all readers read its list
//   flatten   by nobody: the same bytes
// Read first: deploy/ops/kernel.h, deploy/packed/graph.h. Tested in: choose_test.cc, engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_OUTLINE_H_
#define BISPARSE_DEPLOY_ENGINE_OUTLINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/ops/kernel.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model.h"

namespace bisparse {

class Outline {
 public:
  /// Keeps a reference to the model, which must be valid (packed::ValidateModel). Without `fuse` no layer is done by a
  /// neighbour.
  Outline(const packed::Model& model, std::string isa, bool fuse = true);

  const packed::Model& model() const { return model_; }
  const packed::Graph& graph() const { return graph_; }
  const std::string& isa() const { return isa_; }

  /// Those that modes differ in, first to last.
  const std::vector<size_t>& layers_with_ways() const { return with_ways_; }
  /// Modes in which layer i is computed differently, sparse_sparse first; of modes that agree the first one.
  const std::vector<Mode>& WaysOf(size_t i) const { return ways_i_[i].modes; }

  /// What layer i does where each layer is computed in its mode (never kAuto). It depends on the modes of i, of its producers
  /// and of its readers.
  ops::Use UseAt(size_t i, std::span<const Mode> mode_i) const;
  /// Of every layer.
  std::vector<ops::Use> Uses(std::span<const Mode> mode_i) const;

  /// What a kernel sees of layer i.
  ops::Node NodeAt(size_t i, Mode mode) const;

  /// The value whose bytes are layer i's output: i itself, or of a layer that has no step the value that its readers read
  /// instead; −1 is the network's input.
  int32_t ValueOf(size_t i, std::span<const Mode> mode_i) const;

  /// What the steps of a value mean (−1: the input); f32: nothing.
  packed::Quantisation StepsOf(int32_t value) const {
    return f32_ ? packed::Quantisation{} : steps_v_[static_cast<size_t>(value + 1)];
  }

 private:
  struct Ways {
    std::array<ops::Use, 4> by_mode;  ///< kAuto's is not used
    std::vector<Mode> modes;
  };
  /// Layer i's neighbours by index, −1: none. See ops::Node.
  struct Neighbours {
    int32_t winners = -1, pool = -1, kwta = -1, relu = -1;
  };
  const ops::Use& WayOf(size_t i, Mode mode) const {
    return ways_i_[i].by_mode[static_cast<size_t>(mode)];
  }
  packed::LayerKind KindOf(int32_t layer) const {
    return model_.layers[static_cast<size_t>(layer)].kind;
  }
  /// The one layer that reads the value; −1: none, several, or it is the network's output.
  int32_t ReaderOf(int32_t value) const;
  int32_t ProducerOf(size_t i) const { return graph_.inputs(static_cast<int64_t>(i))[0]; }
  int32_t KwtaBefore(size_t i) const;
  Neighbours FindNeighbours(size_t i) const;
  /// No step: the bytes of its input are its output.
  bool IsNothing(size_t i) const;
  bool PoolIsDone(size_t i, std::span<const Mode> mode_i, const char** reason) const;
  bool ReluIsDone(size_t i, std::span<const Mode> mode_i, const char** reason) const;
  /// Only k-WTAs read relu i, and do it too: they read what the relu reads, with the steps of that.
  bool ReluIsOfReaders(size_t i) const;
  /// The convolution that makes k-WTA i's winners, −1: none.
  int32_t MakerOf(size_t i, std::span<const Mode> mode_i) const;
  /// What the readers of a k-WTA's value want of it.
  struct Wanted {
    bool map = false, list = false, begins = false;
    int32_t line_step = 0;  ///< that all readers of the list could read; 0: none such
  };
  Wanted WantedOf(size_t kwta, std::span<const Mode> mode_i) const;
  void AddWanted(int32_t value, std::span<const Mode> mode_i, Wanted& wanted, bool& first) const;

  const packed::Model& model_;
  const packed::Graph graph_;
  std::string isa_;
  bool fuse_, f32_;
  std::vector<packed::Quantisation> steps_v_;  ///< int8
  std::vector<Neighbours> neighbours_i_;
  std::vector<Ways> ways_i_;
  std::vector<size_t> with_ways_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_OUTLINE_H_
