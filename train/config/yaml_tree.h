// SPDX-License-Identifier: Apache-2.0
// A YAML document as a plain tree with marks, built from yaml-cpp's events. yaml-cpp's own Node passes duplicate keys
// silently and reads 010 as 8. It shares aliased nodes, so that a walk over ten lines can take for ever. Here keys keep
// their order and their doubles, scalars stay text until the schema asks, and aliases are copied under a budget.
// Tested in: yaml_tree_test.cc, tests/fuzz/fuzz_config.cc.
#ifndef BISPARSE_TRAIN_CONFIG_YAML_TREE_H_
#define BISPARSE_TRAIN_CONFIG_YAML_TREE_H_

#include <string>
#include <string_view>
#include <vector>

#include "train/config/faults.h"

namespace bisparse::train {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  Mark mark;
  std::string text;               ///< scalar
  bool quoted = false;            ///< scalar in quotes: text, never a number
  std::vector<YamlNode> items;    ///< sequence; map: the values
  std::vector<std::string> keys;  ///< map: one per item
  std::vector<Mark> key_marks;    ///< map: one per item

  /// The first value of `key` in a map, or null.
  YamlNode* Find(std::string_view key);
  const YamlNode* Find(std::string_view key) const;
};

/// Limits that no honest configuration meets.
inline constexpr size_t kMaxYamlBytes = 1 << 20;
inline constexpr int kMaxYamlDepth = 32;
inline constexpr size_t kMaxYamlNodes = 20000;

/// What a scalar lacks that looks like a key and its value, "epochs:3" or "epochs 3": " (hint: …)",
/// else nothing.
std::string PunctuationHint(const std::string& text);

/// Parses one document (an empty text is an empty map). Bytes that are not UTF-8, syntax errors, a
/// second document, tags, and whatever exceeds the limits become faults; what was read so far is returned.
YamlNode ParseYaml(const std::string& text, Faults& faults);

/// Applies "train.epochs=3": sets the value at the dotted path, creating maps on the way; the value
/// is YAML. A component of a path that meets a sequence is an index from 0. Faults carry Mark{0,
/// number}.
void ApplyOverride(YamlNode& root, const std::string& assignment, int number, Faults& faults);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_YAML_TREE_H_
