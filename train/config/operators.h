// SPDX-License-Identifier: Apache-2.0
// One row a kind of layer: its word in the YAML, its keys, the rule of its shape, what it becomes in a model file. A new
// kind is an enumerator in config.h, a row in operators.cc, and what LibTorch computes of it: a row in train/nn/operators.cc
// and one in train/export/near_ties.cc.
// Read first: config.h, schema.h. Tested in: network_test.cc, describe_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_OPERATORS_H_
#define BISPARSE_TRAIN_CONFIG_OPERATORS_H_

#include <cstdint>
#include <optional>
#include <span>

#include "train/config/config.h"
#include "train/config/schema.h"

namespace bisparse::train {

/// How the shape of the output follows from those of the inputs.
enum class ShapeRule : uint8_t {
  kSame,
  kWindow,   ///< of a kernel window
  kUnits,    ///< 1×1×outputs, of a flat input
  kFlat,     ///< 1×1×elements
  kRepeat,   ///< several inputs: that of the largest, over which height 1 and width 1 are repeated
  kChannels  ///< several inputs of equal height and width: their channels one after another
};

/// A value's shape, and the largest part of it that is not zero.
struct Activity {
  Shape shape;
  double density = 1.0;
};

struct Operator {
  LayerKind kind;
  const char* word;                           ///< of the YAML: "conv2d"
  const char* prefix;                         ///< of automatic names: conv1, conv2, …
  const char* meaning;                        ///< a sentence for docs/configuration.md
  std::optional<packed::LayerKind> deployed;  ///< nothing: it vanishes at export
  ShapeRule shape;
  void (*visit)(SchemaVisitor&, LayerConfig&);  ///< its keys, name and from excepted
  double (*density)(const LayerConfig&, std::span<const Activity> inputs);  ///< of its output
  /// It reads the value before it and the ones that `from` names; others read one value.
  bool ReadsSeveral() const { return shape == ShapeRule::kRepeat || shape == ShapeRule::kChannels; }
};

const Operator& OperatorOf(LayerKind kind);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_OPERATORS_H_
