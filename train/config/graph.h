// SPDX-License-Identifier: Apache-2.0
// Who reads what: the names of `from` as indices, readers of each value, what a batch_norm folds into.
//
//   value i = what layer i gives; −1 = the network's input
//
// Read first: config.h, docs/networks.md. Tested in: graph_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_GRAPH_H_
#define BISPARSE_TRAIN_CONFIG_GRAPH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/config/faults.h"

namespace bisparse::train {

/// The word of `from` for the network's input.
inline constexpr const char* kInputName = "input";

/// Fills `inputs` of every layer: the value before it, and what `from` names in its place (add, multiply, concat: besides).
/// To `faults`: a name that is not there, a layer that stands later, a value that an add or concat reads twice. A layer
/// with such a fault gets no inputs.
void ResolveInputs(NetworkConfig& network, Faults& faults);

/// To `faults`: values that no layer reads; the last layer's is the output. Needs `inputs`.
void CheckReaders(const NetworkConfig& network, Faults& faults);

/// How many times the value of each layer is read. Needs `inputs`.
std::vector<int32_t> CountReaders(const NetworkConfig& network);

/// The layer with weights that batch_norm `index` is folded into: the one before it (layers that vanish at export between
/// them don't count), if nothing else reads its value. Nothing for another kind of layer.
std::optional<size_t> FoldTarget(const NetworkConfig& network, size_t index);

/// What layer `index` reads, by names: "conv1", "relu3, input".
std::string InputNames(const NetworkConfig& network, size_t index);

/// Whether each layer reads the one before it, and nothing else.
bool IsChain(const NetworkConfig& network);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_GRAPH_H_
