// SPDX-License-Identifier: Apache-2.0
// Who reads whom: a model's layers as a graph. Value i is the output of layer i, value −1 the network's input. A value has
// one producer and any number of readers. Layer::inputs names each layer's values; here the short form (empty: the layer
// before it) is written out, and the other direction is answered. Producers stand before their readers, so the order of the
// layers is an order to compute in. Read first: model.h. Tested in: graph_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_GRAPH_H_
#define BISPARSE_DEPLOY_PACKED_GRAPH_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse::packed {

class Graph {
 public:
  /// Keeps no reference to the model. Any model will do: inputs that ValidateModel refuses are shown by inputs() and have no
  /// entry in readers().
  explicit Graph(const Model& model);

  /// The values that `layer` reads, in order; never empty.
  std::span<const int32_t> inputs(int64_t layer) const {
    return Part(inputs_, input_begin_, static_cast<size_t>(layer));
  }
  /// The layers that read `value` (−1: the input), ascending. A layer that reads it twice stands there twice.
  std::span<const int32_t> readers(int64_t value) const {
    return Part(readers_, reader_begin_, static_cast<size_t>(value + 1));
  }
  /// Every layer reads the one before it, and that alone.
  bool IsChain() const { return is_chain_; }

 private:
  static std::span<const int32_t> Part(const std::vector<int32_t>& all,
                                       const std::vector<size_t>& begin, size_t i) {
    return std::span(all).subspan(begin[i], begin[i + 1] - begin[i]);
  }

  std::vector<int32_t> inputs_, readers_;  // those of all layers, of all values
  std::vector<size_t> input_begin_, reader_begin_;
  bool is_chain_ = true;
};

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_GRAPH_H_
