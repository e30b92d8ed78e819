// SPDX-License-Identifier: Apache-2.0
// Read first: reader.h. Past 400 lines, since it is one visitor with a method per type of row.
// Tested in: load_test.cc.
#include "train/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "train/config/operators.h"
#include "train/config/scalars.h"
#include "train/config/schema.h"

namespace bisparse::train {
namespace {

using Kind = YamlNode::Kind;

// What an absent section is read from: its rows keep their defaults, its required keys are missing.
const YamlNode& EmptyMap() {
  static const YamlNode empty = [] {
    YamlNode map;
    map.kind = Kind::kMap;
    return map;
  }();
  return empty;
}

std::string Describe(const YamlNode& node) {
  constexpr size_t kShown = 60;
  switch (node.kind) {
    case Kind::kNull:
      return "is empty";
    case Kind::kSequence:
      return "is a list";
    case Kind::kMap:
      return "is a map";
    case Kind::kScalar:
      break;
  }
  std::string text = node.text.substr(0, kShown);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (node.text.size() > kShown) text += "…";
  return node.quoted ? fmt::format("= \"{}\"", text) : "= " + text;
}

std::string Hint(const YamlNode& node) {
  if (node.kind == Kind::kScalar && node.quoted) return " (hint: leave the quotes out)";
  if (node.kind == Kind::kScalar && HasLeadingZero(node.text)) {
    return " (hint: YAML reads a leading zero as octal; leave it out)";
  }
  return "";
}

std::string Join(Words words) {
  std::string text;
  for (const char* word : words) text += (text.empty() ? "" : ", ") + std::string(word);
  return text;
}

class Reader : public SchemaVisitor {
 public:
  explicit Reader(Faults& faults) : faults_(faults) {}

  void Int(const char* key, int32_t& value, Range range, const char*, Need need) override {
    if (const YamlNode* node = Take(key, need)) {
      if (const auto number = Whole(key, *node, range)) value = static_cast<int32_t>(*number);
    }
  }

  void Seed(const char* key, uint64_t& value, const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    const auto number = IsPlain(*node) ? ParseUnsigned(node->text) : std::nullopt;
    if (number) {
      value = *number;
    } else {
      Fault(key, *node, "is no seed: 0 … 18446744073709551615" + Hint(*node));
    }
  }

  void Real(const char* key, double& value, Range range, const char*) override {
    if (const YamlNode* node = Take(key, Need::kOptional)) {
      if (const auto number = AnyReal(key, *node, range)) value = *number;
    }
  }
  void Real(const char* key, float& value, Range range, const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    const auto number = AnyReal(key, *node, range);
    if (!number) return;
    const float narrow = static_cast<float>(*number);
    if (std::isfinite(narrow) && range.Contains(narrow)) {
      value = narrow;
    } else {
      Fault(key, *node, "is beyond single precision");
    }
  }

  void Bool(const char* key, bool& value, const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    if (IsPlain(*node) && (node->text == "true" || node->text == "false")) {
      value = node->text == "true";
    } else {
      Fault(key, *node, "is neither true nor false" + Hint(*node));
    }
  }

  void Text(const char* key, std::string& value, const char*, Need need) override {
    const YamlNode* node = Take(key, need);
    if (node == nullptr) return;
    if (node->kind != Kind::kScalar) {
      Fault(key, *node, "where a text is wanted (hint: \"\" is the empty text)");
    } else if (node->text.find('\0') != std::string::npos) {
      Fault(key, *node, "has a NUL character");
    } else if (node->text.empty() && (need == Need::kRequired || levels_.back().path.empty())) {
      Fault(key, *node, "is empty");
    } else {
      value = node->text;
    }
  }

  void TextList(const char* key, std::vector<std::string>& value, bool or_one,
                const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    if (or_one && node->kind == Kind::kScalar) {
      if (node->text.empty()) return value.clear();
      value = {node->text};
      return;
    }
    if (node->kind != Kind::kSequence) {
      return Fault(key, *node, "where a list is wanted (hint: [yes, no])");
    }
    std::vector<std::string> words;
    for (const YamlNode& item : node->items) {
      if (item.kind != Kind::kScalar || item.text.empty()) {
        faults_.AddAt(item.mark, Path(key), "has an item that is no word");
      } else if (std::find(words.begin(), words.end(), item.text) != words.end()) {
        faults_.AddAt(item.mark, Path(key), fmt::format("lists '{}' twice", item.text));
      } else {
        words.push_back(item.text);
      }
    }
    value = std::move(words);
  }

  void Ints(const char* key, std::span<int32_t* const> values, bool one_for_all, Range range,
            const char*, Need need) override {
    const YamlNode* node = Take(key, need);
    if (node == nullptr) return;
    if (node->kind == Kind::kSequence && node->items.size() == values.size()) {
      for (size_t i = 0; i < values.size(); ++i) {
        if (const auto number = Whole(key, node->items[i], range))
          *values[i] = static_cast<int32_t>(*number);
      }
    } else if (one_for_all && node->kind == Kind::kScalar) {
      if (const auto number = Whole(key, *node, range)) {
        for (int32_t* value : values) *value = static_cast<int32_t>(*number);
      }
    } else {
      Fault(key, *node,
            fmt::format("where {}a list of {} numbers is wanted", one_for_all ? "a number or " : "",
                        values.size()));
    }
  }

  void Reals(const char* key, std::vector<float>& values, Range range, const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    if (node->kind != Kind::kSequence) {
      return Fault(key, *node, "where a list of numbers is wanted (hint: [0.5, 0.25])");
    }
    std::vector<float> numbers;
    for (const YamlNode& item : node->items) {
      const auto number = AnyReal(key, item, range);
      if (!number) return;
      numbers.push_back(static_cast<float>(*number));
    }
    values = std::move(numbers);
  }

  void Word(const char* key, int& index, Words words, const char*) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node == nullptr) return;
    if (!FindWord(*node, words, index)) {
      Fault(key, *node, "is none of: " + Join(words) + WordHint(*node, words));
    }
  }

  void WordOrNumber(const char* key, int& index, Words words, double& number, bool whole,
                    Range range, const char*, Need need) override {
    const YamlNode* node = Take(key, need);
    if (node == nullptr || FindWord(*node, words, index)) return;
    if (IsPlain(*node) && !ParseReal(node->text) && !HasLeadingZero(node->text)) {
      return Fault(
          key, *node,
          fmt::format("is neither a number nor one of: {}{}", Join(words), WordHint(*node, words)));
    }
    index = static_cast<int>(words.size());
    if (whole) {
      if (const auto read = Whole(key, *node, range)) number = static_cast<double>(*read);
    } else if (const auto read = AnyReal(key, *node, range)) {
      number = *read;
    }
  }

  void Section(const char* key, const char*, const std::function<void()>& body) override {
    const YamlNode* node = Take(key, Need::kOptional);
    if (node != nullptr && node->kind != Kind::kMap) {
      return Fault(key, *node, "where a map of keys is wanted" + PunctuationHint(node->text));
    }
    Enter(node == nullptr ? EmptyMap() : *node, Path(key), body);
  }

  void Only(bool applies, const char* when, const std::function<void()>& body) override {
    if (applies) return body();
    const char* const outer = only_;
    if (only_ == nullptr) only_ = when;
    body();
    only_ = outer;
  }

  void LayerNames(const char* key, std::vector<std::string>& names, bool several, const char*,
                  Need need) override {
    const YamlNode* node = Take(key, need);
    if (node == nullptr) return;
    const bool list = node->kind == Kind::kSequence;
    const std::span<const YamlNode> items = list ? std::span(node->items) : std::span(node, 1);
    if (items.empty() || (items.size() > 1 && !several)) {
      return Fault(key, *node,
                   several
                       ? "where the name of a layer is wanted, or several: [a, b]"
                       : "where the name of one layer is wanted (hint: add, multiply and concat "
                         "read several)");
    }
    for (const YamlNode& item : items) {
      if (item.kind != Kind::kScalar || item.text.empty()) {
        faults_.AddAt(item.mark, Path(key),
                      Describe(item) + " where the name of a layer is wanted");
      } else {
        faults_.SetMark(fmt::format("{}.{}", Path(key), names.size()), item.mark);
        names.push_back(item.text);
      }
    }
  }

  void Layers(const char* key, std::vector<LayerConfig>& layers, const char*) override {
    const YamlNode* node = Take(key, Need::kRequired);
    if (node == nullptr) return;
    if (node->kind != Kind::kSequence || node->items.empty()) {
      return Fault(key, *node, "where a list of layers is wanted (hint: - conv2d: {…})");
    }
    std::map<std::string, Mark> names;
    std::map<LayerKind, int> counts;
    for (const YamlNode& item : node->items) {
      layers.push_back(ReadLayer(item, counts));
      const LayerConfig& layer = layers.back();
      const auto [found, fresh] = names.emplace(layer.name, item.mark);
      if (!fresh) {
        faults_.AddAt(item.mark, layer.name + ".name",
                      fmt::format("is taken by the layer at line {}", found->second.line));
      }
    }
  }

  /// Runs body with `node` as the map that keys are taken from, then faults whatever no row asked
  /// for.
  void Enter(const YamlNode& node, const std::string& path, const std::function<void()>& body) {
    if (!path.empty() && &node != &EmptyMap()) faults_.SetMark(path, node.mark);
    levels_.push_back({&node, path, {}});
    body();
    CheckKeys(levels_.back());
    levels_.pop_back();
  }

 private:
  struct Level {
    const YamlNode* node;
    std::string path;
    std::vector<std::string> known;  ///< keys that rows asked for
  };

  static bool IsPlain(const YamlNode& node) { return node.kind == Kind::kScalar && !node.quoted; }

  std::string Path(const std::string& key) const {
    return levels_.back().path.empty() ? key : levels_.back().path + "." + key;
  }

  void Fault(const char* key, const YamlNode& node, const std::string& rest) {
    faults_.AddAt(node.mark, Path(key), Describe(node) + " " + rest);
  }

  // The value of a row's key, or null: absent, or not applicable here (a fault).
  const YamlNode* Take(const char* key, Need need) {
    Level& level = levels_.back();
    // A key may have a row in several Only branches; what counts is whether one of them applies.
    if (only_ != nullptr) {
      if (std::find(level.known.begin(), level.known.end(), key) != level.known.end())
        return nullptr;
      not_here_.emplace(Path(key), only_);
      return nullptr;
    }
    level.known.emplace_back(key);
    const YamlNode* node = level.node->Find(key);
    if (node != nullptr) {
      faults_.SetMark(Path(key), node->mark);
    } else if (need == Need::kRequired) {
      faults_.AddAt(faults_.MarkOf(Path(key)), Path(key), "is missing");
    }
    return node;
  }

  std::optional<int64_t> Whole(const char* key, const YamlNode& node, Range range) {
    const auto number = IsPlain(node) ? ParseWhole(node.text) : std::nullopt;
    if (!number) {
      Fault(key, node, "where a whole number is wanted: " + range.Text() + Hint(node));
    } else if (!range.Contains(static_cast<double>(*number))) {
      Fault(key, node, "is out of range: " + range.Text());
      return std::nullopt;
    }
    return number;
  }

  std::optional<double> AnyReal(const char* key, const YamlNode& node, Range range) {
    const auto number = IsPlain(node) ? ParseReal(node.text) : std::nullopt;
    if (!number) {
      Fault(key, node, "where a number is wanted: " + range.Text() + Hint(node));
    } else if (!range.Contains(*number)) {
      Fault(key, node, "is out of range: " + range.Text());
      return std::nullopt;
    }
    return number;
  }

  static bool FindWord(const YamlNode& node, Words words, int& index) {
    if (node.kind != Kind::kScalar) return false;
    for (size_t i = 0; i < words.size(); ++i) {
      if (node.text == words[i]) {
        index = static_cast<int>(i);
        return true;
      }
    }
    return false;
  }

  static std::string WordHint(const YamlNode& node, Words words) {
    if (node.kind != Kind::kScalar) return "";
    const std::vector<std::string> list(words.begin(), words.end());
    const std::string nearest = Nearest(node.text, list);
    return nearest.empty() ? "" : fmt::format(" (hint: did you mean {}?)", nearest);
  }

  void CheckKeys(const Level& level) {
    std::map<std::string, Mark> seen;
    for (size_t i = 0; i < level.node->keys.size(); ++i) {
      const std::string& key = level.node->keys[i];
      const Mark mark = level.node->key_marks[i];
      const std::string path = level.path.empty() ? key : level.path + "." + key;
      const auto [first, fresh] = seen.emplace(key, mark);
      if (!fresh) {
        faults_.AddAt(mark, path,
                      fmt::format("is given twice (hint: first at line {})", first->second.line));
      } else if (std::find(level.known.begin(), level.known.end(), key) == level.known.end()) {
        UnknownKey(level, key, path, mark);
      }
    }
  }

  void UnknownKey(const Level& level, const std::string& key, const std::string& path, Mark mark) {
    const auto not_here = not_here_.find(path);
    if (not_here != not_here_.end()) {
      return faults_.AddAt(mark, path,
                           fmt::format("is of no use here (hint: only with {})", not_here->second));
    }
    const std::string nearest = Nearest(key, level.known);
    std::string hint = PunctuationHint(key);
    if (hint.empty() && !nearest.empty()) hint = fmt::format(" (hint: did you mean {}?)", nearest);
    if (hint.empty() && !level.known.empty()) {
      for (const std::string& known : level.known)
        hint += (hint.empty() ? " (hint: " : ", ") + known;
      hint += ")";
    }
    faults_.AddAt(mark, path, "is no key" + hint);
  }

  // An item of `network`: "relu", or a map with one key, "conv2d: {…}".
  LayerConfig ReadLayer(const YamlNode& item, std::map<LayerKind, int>& counts) {
    const bool word = item.kind == Kind::kScalar;
    if (!word && (item.kind != Kind::kMap || item.keys.size() != 1)) {
      faults_.AddAt(item.mark, "network",
                    "has an item that is not one layer (hint: - conv2d: {…}, or - relu)");
      return Unknown();
    }
    const std::string& kind_word = word ? item.text : item.keys[0];
    const Mark mark = word ? item.mark : item.key_marks[0];
    const Words words = LayerKindWords();
    const auto found = std::find(words.begin(), words.end(), kind_word);
    if (found == words.end()) {
      YamlNode named;
      named.kind = Kind::kScalar;
      named.text = kind_word;
      std::string hint = PunctuationHint(kind_word);
      if (hint.empty()) hint = WordHint(named, words);
      faults_.AddAt(mark, "network",
                    fmt::format("{} is no kind of layer{}", Describe(named),
                                hint.empty() ? " (hint: " + Join(words) + ")" : hint));
      return Unknown();
    }
    LayerConfig layer = DefaultLayer(static_cast<LayerKind>(found - words.begin()));
    layer.name = fmt::format("{}{}", OperatorOf(layer.kind).prefix, ++counts[layer.kind]);
    const YamlNode& keys = word || item.items[0].kind == Kind::kNull ? EmptyMap() : item.items[0];
    ReadName(keys, layer);
    faults_.SetMark(layer.name, mark);
    if (keys.kind != Kind::kMap) {
      faults_.AddAt(keys.mark, layer.name,
                    Describe(keys) +
                        fmt::format(" where a map of keys is wanted (hint: {}: {{…}})", kind_word));
      return layer;
    }
    levels_.push_back({&keys, layer.name, {}});
    const std::string name = layer.name;
    VisitLayer(*this, layer);
    layer.name = name;  // not the text of a refused name: faults are found by it
    CheckKeys(levels_.back());
    levels_.pop_back();
    return layer;
  }

  // The name first: it stands in all other messages. Letters, digits and '_', since it names
  // tensors and dots separate.
  void ReadName(const YamlNode& keys, LayerConfig& layer) {
    const YamlNode* name = keys.kind == Kind::kMap ? keys.Find("name") : nullptr;
    if (name == nullptr || name->kind != Kind::kScalar) return;
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    const std::string& text = name->text;
    constexpr size_t kLongest = 64;
    if (!text.empty() && text.size() <= kLongest &&
        std::all_of(text.begin(), text.end(), allowed) && !(text[0] >= '0' && text[0] <= '9')) {
      layer.name = text;
    } else {
      faults_.AddAt(name->mark, layer.name + ".name",
                    Describe(*name) + " is no name (hint: letters, digits and '_', at most 64)");
    }
  }

  // Stands in for a layer that cannot be read; its shape is unknown, so inference ends there.
  LayerConfig Unknown() {
    LayerConfig layer = DefaultLayer(LayerKind::kConv2d);
    layer.name = fmt::format("{}{}", kUnknownLayer, ++unknown_count_);
    return layer;
  }

  Faults& faults_;
  std::vector<Level> levels_;
  std::map<std::string, const char*>
      not_here_;                ///< keys of Only branches that don't apply → when they would
  const char* only_ = nullptr;  ///< set within an Only that does not apply
  int unknown_count_ = 0;
};

}  // namespace

void ReadConfig(const YamlNode& root, Config& config, Faults& faults) {
  if (root.kind != Kind::kMap && root.kind != Kind::kNull) {
    faults.AddAt(root.mark, "", "a configuration is a map of keys (hint: begin with `data:`)");
    return;
  }
  Reader reader(faults);
  reader.Enter(root.kind == Kind::kNull ? EmptyMap() : root, "",
               [&] { VisitConfig(reader, config); });
}

}  // namespace bisparse::train
