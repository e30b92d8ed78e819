// SPDX-License-Identifier: Apache-2.0
// Read first: graph.h. Tested in: graph_test.cc.
#include "deploy/packed/graph.h"

#include <numeric>

namespace bisparse::packed {

Graph::Graph(const Model& model) : input_begin_{0}, reader_begin_(model.layers.size() + 2) {
  const auto layers = static_cast<int32_t>(model.layers.size());
  const auto exists = [](int32_t value, int32_t layer) { return -1 <= value && value < layer; };
  for (int32_t i = 0; i < layers; ++i) {
    const std::vector<int32_t>& named = model.layers[static_cast<size_t>(i)].inputs;
    if (named.empty()) inputs_.push_back(i - 1);
    inputs_.insert(inputs_.end(), named.begin(), named.end());
    input_begin_.push_back(inputs_.size());
    is_chain_ = is_chain_ && inputs(i).size() == 1 && inputs(i).front() == i - 1;
    for (const int32_t value : inputs(i)) {
      if (exists(value, i)) ++reader_begin_[static_cast<size_t>(value + 2)];
    }
  }
  std::partial_sum(reader_begin_.begin(), reader_begin_.end(), reader_begin_.begin());
  readers_.resize(reader_begin_.back());
  std::vector<size_t> next = reader_begin_;
  for (int32_t i = 0; i < layers; ++i) {
    for (const int32_t value : inputs(i)) {
      if (exists(value, i)) readers_[next[static_cast<size_t>(value + 1)]++] = i;
    }
  }
}

}  // namespace bisparse::packed
