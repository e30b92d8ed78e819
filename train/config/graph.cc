// SPDX-License-Identifier: Apache-2.0
// Read first: graph.h. Tested in: graph_test.cc.
#include "train/config/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "train/config/operators.h"
#include "train/config/reader.h"
#include "train/config/scalars.h"

namespace bisparse::train {
namespace {

std::string NameOf(const NetworkConfig& network, int32_t value) {
  return value < 0 ? kInputName : network.layers[static_cast<size_t>(value)].name;
}

class Resolver {
 public:
  Resolver(NetworkConfig& network, Faults& faults) : network_(network), faults_(faults) {
    for (size_t i = 0; i < network.layers.size(); ++i) {
      index_.emplace(network.layers[i].name, static_cast<int32_t>(i));
    }
  }

  void Run() {
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      LayerConfig& layer = network_.layers[i];
      layer.inputs.clear();
      if (faults_.Concerns(layer.name + ".from")) continue;  // told by the reader
      const Operator& op = OperatorOf(layer.kind);
      const auto self = static_cast<int32_t>(i);
      std::vector<int32_t> inputs;
      if (op.ReadsSeveral() || layer.from.empty()) inputs.push_back(self - 1);
      bool good = true;
      for (size_t k = 0; k < layer.from.size(); ++k) {
        const std::optional<int32_t> value = Find(layer, self, k);
        good = value && !(op.kind != LayerKind::kMultiply && IsTwice(layer, inputs, *value, k)) &&
               good;
        if (value) inputs.push_back(*value);
      }
      if (std::ssize(inputs) > packed::kMaxInputs) {
        good = false;
        faults_.Add(layer.name + ".from",
                    fmt::format("makes it read {} values, at most {} are allowed", inputs.size(),
                                packed::kMaxInputs));
      }
      if (good) layer.inputs = std::move(inputs);
    }
  }

 private:
  void Add(const LayerConfig& layer, size_t k, const std::string& rest) {
    faults_.AddAt(faults_.MarkOf(fmt::format("{}.from.{}", layer.name, k)), layer.name + ".from",
                  fmt::format("= {} {}", layer.from[k], rest));
  }

  std::optional<int32_t> Find(const LayerConfig& layer, int32_t self, size_t k) {
    const std::string& name = layer.from[k];
    const auto found = index_.find(name);
    if (name == kInputName) {
      if (found == index_.end()) return -1;
      Add(layer, k,
          "is the network's input and the name of a layer (hint: call the layer otherwise)");
    } else if (found == index_.end() || name[0] == kUnknownLayer) {
      std::vector<std::string> names;
      if (++unknown_ <= kMostHints) {
        names.push_back(kInputName);
        for (int32_t i = 0; i < self; ++i) names.push_back(NameOf(network_, i));
      }
      const std::string nearest = Nearest(name, names);
      Add(layer, k,
          nearest.empty()
              ? "is the name of no layer (hint: `name:` gives a layer one)"
              : fmt::format("is the name of no layer (hint: did you mean {}?)", nearest));
    } else if (found->second == self) {
      Add(layer, k, "is the layer itself");
    } else if (found->second > self) {
      const Mark mark = faults_.MarkOf(name);
      Add(layer, k,
          fmt::format("stands later{}: a layer reads what stands before it",
                      mark.line > 0 ? fmt::format(", at line {}", mark.line) : ""));
    } else {
      return found->second;
    }
    return std::nullopt;
  }

  /// A sum or concatenation of a value with itself is what weights after it can do as well.
  bool IsTwice(const LayerConfig& layer, const std::vector<int32_t>& inputs, int32_t value,
               size_t k) {
    const auto first = std::find(inputs.begin(), inputs.end(), value);
    if (first == inputs.end()) return false;
    Add(layer, k,
        first == inputs.begin() && OperatorOf(layer.kind).ReadsSeveral()
            ? "is read already: it stands directly before (hint: leave it out)"
            : "is read twice (hint: leave one out)");
    return true;
  }

  static constexpr int kMostHints =
      20;  // each looks at all names: bounds the work on hostile files

  NetworkConfig& network_;
  Faults& faults_;
  std::map<std::string, int32_t> index_;  ///< of the first layer of a name
  int unknown_ = 0;                       ///< names that no layer has, so far
};

}  // namespace

void ResolveInputs(NetworkConfig& network, Faults& faults) { Resolver(network, faults).Run(); }

void CheckReaders(const NetworkConfig& network, Faults& faults) {
  const std::vector<int32_t> readers = CountReaders(network);
  for (size_t i = 0; i + 1 < readers.size(); ++i) {
    if (readers[i] > 0) continue;
    const std::string& name = network.layers[i].name;
    faults.Add(name, fmt::format("gives a value that no layer reads (hint: from: {} where it is "
                                 "wanted, or leave the layer out)",
                                 name));
  }
}

std::vector<int32_t> CountReaders(const NetworkConfig& network) {
  std::vector<int32_t> readers(network.layers.size());
  for (const LayerConfig& layer : network.layers) {
    for (const int32_t value : layer.inputs) {
      if (value >= 0) ++readers[static_cast<size_t>(value)];
    }
  }
  return readers;
}

std::optional<size_t> FoldTarget(const NetworkConfig& network, size_t index) {
  if (network.layers[index].kind != LayerKind::kBatchNorm) return std::nullopt;
  const std::vector<int32_t> readers = CountReaders(network);
  int32_t value = network.layers[index].inputs[0];
  while (value >= 0 && readers[static_cast<size_t>(value)] == 1) {
    const LayerConfig& layer = network.layers[static_cast<size_t>(value)];
    if (layer.HasWeights()) return static_cast<size_t>(value);
    if (OperatorOf(layer.kind).deployed) break;
    value = layer.inputs[0];
  }
  return std::nullopt;
}

std::string InputNames(const NetworkConfig& network, size_t index) {
  std::string names;
  for (const int32_t value : network.layers[index].inputs) {
    names += (names.empty() ? "" : ", ") + NameOf(network, value);
  }
  return names;
}

bool IsChain(const NetworkConfig& network) {
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const std::vector<int32_t>& inputs = network.layers[i].inputs;
    if (inputs.size() != 1 || inputs[0] != static_cast<int32_t>(i) - 1) return false;
  }
  return true;
}

}  // namespace bisparse::train
