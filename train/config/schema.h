// SPDX-License-Identifier: Apache-2.0
// The schema: one row per key (name, where its value lives, what is allowed, what it means).
// VisitConfig walks the rows in the order of the file; a visitor reads YAML into them (load.cc),
// prints them (print.cc) or documents them (document.cc), so that the three cannot disagree. A
// default is what the plain struct holds before reading. Read first: config.h. Tested in:
// load_test.cc, print_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_SCHEMA_H_
#define BISPARSE_TRAIN_CONFIG_SCHEMA_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "train/config/config.h"

namespace bisparse::train {

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false, max_open = false;  ///< the bound itself is not allowed

  bool Contains(double x) const {
    return (min_open ? x > min : x >= min) && (max_open ? x < max : x <= max);
  }
  std::string Text() const;  ///< "1 … 64", "(0, 1]", "any"
};

/// No honest value is larger; single precision holds it, and its product with another small one.
inline constexpr double kLargest = 1e30;
inline constexpr Range kAny{-kLargest, kLargest};
inline constexpr Range kPositive{0.0, kLargest, true, false};
inline constexpr Range kNotNegative{0.0, kLargest};
inline constexpr Range kFraction{0.0, 1.0};
inline constexpr Range kPositiveFraction{0.0, 1.0, true, false};

enum class Need : uint8_t { kOptional, kRequired };
using Words = std::span<const char* const>;

class SchemaVisitor {
 public:
  virtual ~SchemaVisitor() = default;

  virtual void Int(const char* key, int32_t& value, Range range, const char* meaning,
                   Need need = Need::kOptional) = 0;
  virtual void Seed(const char* key, uint64_t& value, const char* meaning) = 0;
  virtual void Real(const char* key, double& value, Range range, const char* meaning) = 0;
  virtual void Real(const char* key, float& value, Range range, const char* meaning) = 0;
  virtual void Bool(const char* key, bool& value, const char* meaning) = 0;
  virtual void Text(const char* key, std::string& value, const char* meaning,
                    Need need = Need::kOptional) = 0;
  /// [a, b, …]; with `or_one` also a single text, which is a list of one.
  virtual void TextList(const char* key, std::vector<std::string>& value, bool or_one,
                        const char* meaning) = 0;
  /// Whole numbers [a, b, …]; with `one_for_all` a single number stands for all of them.
  virtual void Ints(const char* key, std::span<int32_t* const> values, bool one_for_all,
                    Range range, const char* meaning, Need need = Need::kOptional) = 0;
  /// [0.5, 0.25, …], as many as there are.
  virtual void Reals(const char* key, std::vector<float>& values, Range range,
                     const char* meaning) = 0;
  /// `index` into words.
  virtual void Word(const char* key, int& index, Words words, const char* meaning) = 0;
  /// One of the words, or (index = words.size()) a number, a whole one if `whole`.
  virtual void WordOrNumber(const char* key, int& index, Words words, double& number, bool whole,
                            Range range, const char* meaning, Need need = Need::kOptional) = 0;
  virtual void Section(const char* key, const char* meaning, const std::function<void()>& body) = 0;
  /// Rows that exist only where `applies`; `when` says where: "type: npy".
  virtual void Only(bool applies, const char* when, const std::function<void()>& body) = 0;
  /// Names of layers, one or (`several`) a list of them; empty where the key is not given.
  virtual void LayerNames(const char* key, std::vector<std::string>& names, bool several,
                          const char* meaning, Need need) = 0;
  /// The list `network`; calls VisitLayer for each layer.
  virtual void Layers(const char* key, std::vector<LayerConfig>& layers, const char* meaning) = 0;

  template <typename Enum>
  void Choice(const char* key, Enum& value, Words words, const char* meaning) {
    int index = static_cast<int>(value);
    Word(key, index, words, meaning);
    value = static_cast<Enum>(index);
  }
};

/// Every row of the file, `network`'s excepted.
void VisitConfig(SchemaVisitor& visitor, Config& config);

/// The rows of one layer of layer.kind.
void VisitLayer(SchemaVisitor& visitor, LayerConfig& layer);

/// A layer of the kind with every default (a pool's stride is 0 until InferShapes: the window's
/// size).
LayerConfig DefaultLayer(LayerKind kind);

/// The words of all kinds, in the order of LayerKind.
Words LayerKindWords();

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_SCHEMA_H_
