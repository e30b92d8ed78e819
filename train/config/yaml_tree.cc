// SPDX-License-Identifier: Apache-2.0
// Read first: yaml_tree.h. Tested in: yaml_tree_test.cc.
#include "train/config/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <regex>
#include <sstream>
#include <utility>

#include "deploy/base/utf8.h"

namespace bisparse::train {
namespace {

// Ends a walk from inside yaml-cpp's callbacks; never leaves this file.
struct Stop {};

Mark FromYaml(const YAML::Mark& mark) {
  // yaml-cpp counts from 0 and marks "nowhere" with −1.
  if (mark.line < 0 || mark.column < 0) return {};
  return {mark.line + 1, mark.column + 1};
}

size_t CountNodes(const YamlNode& node) {
  size_t count = 1;
  for (const YamlNode& item : node.items) count += CountNodes(item);
  return count;
}

int Depth(const YamlNode& node) {
  int depth = 0;
  for (const YamlNode& item : node.items) depth = std::max(depth, Depth(item));
  return depth + 1;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(Faults& faults) : faults_(faults) {}

  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.mark = FromYaml(mark);
    Finish(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    YamlNode node;
    node.kind = YamlNode::Kind::kScalar;
    node.mark = FromYaml(mark);
    node.text = value;
    node.quoted = tag == "!";
    Finish(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) StopAt(FromYaml(mark), "an alias within its own anchor");
    YamlNode copy = found->second;
    nodes_ += CountNodes(copy);
    if (static_cast<int>(open_.size()) + Depth(copy) > kMaxYamlDepth) StopTooDeep(FromYaml(mark));
    Finish(std::move(copy), 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kSequence);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapEnd() override { Close(); }

 private:
  struct OpenNode {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool expects_key = true;
  };

  [[noreturn]] void StopAt(Mark mark, const std::string& message) {
    faults_.AddAt(mark, "", message);
    throw Stop{};
  }
  [[noreturn]] void StopTooDeep(Mark mark) {
    StopAt(mark, fmt::format("nested more than {} deep", kMaxYamlDepth));
  }

  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    faults_.AddAt(FromYaml(mark), "",
                  fmt::format("tag {} is not used here (hint: the key decides the type)", tag));
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    CheckTag(mark, tag);
    if (static_cast<int>(open_.size()) + 1 > kMaxYamlDepth) StopTooDeep(FromYaml(mark));
    OpenNode opened;
    opened.node.kind = kind;
    opened.node.mark = FromYaml(mark);
    opened.anchor = anchor;
    open_.push_back(std::move(opened));
  }

  void Close() {
    OpenNode closed = std::move(open_.back());
    open_.pop_back();
    Finish(std::move(closed.node), closed.anchor);
  }

  // A node is whole: it becomes a key, a value, an item or the root.
  void Finish(YamlNode node, YAML::anchor_t anchor) {
    if (++nodes_ > kMaxYamlNodes) {
      StopAt(node.mark, fmt::format("more than {} values (aliases counted as what they stand for)",
                                    kMaxYamlNodes));
    }
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.expects_key) {
      if (node.kind != YamlNode::Kind::kScalar) {
        faults_.AddAt(node.mark, "", "a key is a plain word here, not a list, a map or nothing");
      }
      parent.node.keys.push_back(node.text);
      parent.node.key_marks.push_back(node.mark);
      parent.expects_key = false;
    } else {
      // "key:" with nothing after it has no mark of its own.
      if (node.kind == YamlNode::Kind::kNull) node.mark = parent.node.key_marks.back();
      parent.node.items.push_back(std::move(node));
      parent.expects_key = true;
    }
  }

  Faults& faults_;
  YamlNode root_;
  std::vector<OpenNode> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  size_t nodes_ = 0;
};

/// yaml-cpp calls a NUL an escape character, and takes lines that end in a carriage return alone for one line.
bool AddControlFault(const std::string& text, Faults& faults) {
  int32_t line = 1;
  size_t line_begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == '\n') {
      ++line;
      line_begin = i + 1;
    }
    const bool ends_line = byte == '\r' && (i + 1 == text.size() || text[i + 1] == '\n');
    if ((byte >= 0x20 && byte != 0x7F) || byte == '\n' || byte == '\t' || ends_line) continue;
    faults.AddAt({line, static_cast<int32_t>(i - line_begin) + 1}, "",
                 byte == '\r'
                     ? "byte 0x0d is a carriage return without a line feed (hint: save the "
                       "file with the line ends of Unix)"
                     : fmt::format("byte 0x{0:02x} is a control character (hint: remove it, "
                                   "or write \"\\x{0:02x}\", in double quotes)",
                                   byte));
    return true;
  }
  return false;
}

/// What a broken line most often lacks: looked for in the line of the error and, since a text goes
/// on over lines, in the two before it. yaml-cpp says "illegal map value" to all of them.
bool AddPunctuationFault(const std::string& text, Mark mark, Faults& faults) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  const int32_t last = std::min(mark.line, static_cast<int32_t>(lines.size()));
  const int32_t first = std::max(1, last - 2);
  const auto report = [&](int32_t number, size_t column, const std::string& message) {
    faults.AddAt({number, static_cast<int32_t>(column) + 1}, "", message);
    return true;
  };
  for (int32_t number = first; number <= last; ++number) {
    const std::string& line = lines[static_cast<size_t>(number) - 1];
    const size_t begin = line.find_first_not_of(" \t");
    const size_t tab = line.substr(0, begin).find('\t');
    if (tab != std::string::npos) {
      return report(number, tab, "a tab indents this line (hint: YAML takes spaces alone)");
    }
  }
  for (int32_t number = last; number >= first; --number) {
    const std::string& line = lines[static_cast<size_t>(number) - 1];
    size_t begin = line.find_first_not_of(" -");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::string hint = PunctuationHint(line.substr(begin, line.find(" #") - begin));
    if (!hint.empty()) return report(number, begin, "not YAML" + hint);
  }
  return false;
}

// Marks of a value given on the command line all point to that override.
void Remark(YamlNode& node, Mark mark) {
  node.mark = mark;
  for (Mark& key_mark : node.key_marks) key_mark = mark;
  for (YamlNode& item : node.items) Remark(item, mark);
}

// The child named `key`, made if a map lacks it; null (with a fault) where there can be none.
YamlNode* Step(YamlNode& node, const std::string& key, Mark mark, Faults& faults) {
  if (node.kind == YamlNode::Kind::kSequence) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error == std::errc() && end == key.data() + key.size() && index < node.items.size()) {
      return &node.items[index];
    }
    faults.AddAt(mark, "",
                 fmt::format("'{}' is not an index of a list of {}", key, node.items.size()));
    return nullptr;
  }
  if (YamlNode* found = node.Find(key)) return found;
  if (node.kind != YamlNode::Kind::kMap) {
    // A layer written as a plain word, `- relu`, may get keys; the word is its kind.
    YamlNode map;
    map.kind = YamlNode::Kind::kMap;
    map.mark = node.mark;
    node = std::move(map);
  }
  node.keys.push_back(key);
  node.key_marks.push_back(mark);
  node.items.emplace_back();
  node.items.back().mark = mark;
  return &node.items.back();
}

}  // namespace

YamlNode* YamlNode::Find(std::string_view key) {
  for (size_t i = 0; i < keys.size() && i < items.size(); ++i) {
    if (keys[i] == key) return &items[i];
  }
  return nullptr;
}

const YamlNode* YamlNode::Find(std::string_view key) const {
  return const_cast<YamlNode*>(this)->Find(key);
}

std::string PunctuationHint(const std::string& text) {
  static const std::regex no_space("([A-Za-z_][A-Za-z_0-9]*):[^ ].*"),
      no_colon("([A-Za-z_][A-Za-z_0-9]*)[ \t]+[^:]*"),
      no_colon_in_flow("([A-Za-z_0-9]+) *[\\[{].*");
  std::smatch match;
  // Long text is no key.
  if (text.size() > 200) return "";
  if (std::regex_match(text, match, no_space)) {
    return fmt::format(" (hint: a space after the colon, `{}: {}`)", match[1].str(),
                       text.substr(static_cast<size_t>(match.length(1)) + 1));
  }
  if (std::regex_match(text, match, no_colon) || std::regex_match(text, match, no_colon_in_flow)) {
    return fmt::format(" (hint: a colon after `{}`)", match[1].str());
  }
  return "";
}

YamlNode ParseYaml(const std::string& text, Faults& faults) {
  if (text.size() > kMaxYamlBytes) {
    faults.AddAt(
        {}, "",
        fmt::format("{} bytes exceed the {} of a configuration (hint: is it another file?)",
                    text.size(), kMaxYamlBytes));
    return {};
  }
  if (const size_t bad = FirstNotUtf8(text); bad < text.size()) {
    const size_t line_begin = bad == 0 ? 0 : text.rfind('\n', bad - 1) + 1;  // npos + 1 = 0
    const auto line = std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(bad), '\n');
    faults.AddAt({static_cast<int32_t>(line) + 1, static_cast<int32_t>(bad - line_begin) + 1}, "",
                 fmt::format("byte 0x{:02x} is not UTF-8 (hint: save the file as UTF-8)",
                             static_cast<uint8_t>(text[bad])));
    return {};
  }
  if (AddControlFault(text, faults)) return {};
  TreeBuilder builder(faults);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      TreeBuilder second(faults);
      YamlNode root = builder.Take();
      if (parser.HandleNextDocument(second)) {
        faults.AddAt({}, "", "holds more than one YAML document (hint: remove the line '---')");
      }
      return root;
    }
  } catch (const Stop&) {
    // The fault is told already.
  } catch (const YAML::Exception& error) {
    if (!AddPunctuationFault(text, FromYaml(error.mark), faults)) {
      faults.AddAt(FromYaml(error.mark), "", "not YAML: " + error.msg);
    }
  }
  return builder.Take();
}

void ApplyOverride(YamlNode& root, const std::string& assignment, int number, Faults& faults) {
  const Mark mark{0, number};
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    faults.AddAt(mark, "", "is not key=value (hint: train.epochs=10)");
    return;
  }
  Faults value_faults("", {});
  YamlNode value = ParseYaml(assignment.substr(equals + 1), value_faults);
  if (!value_faults.empty()) {
    const bool utf8 = FirstNotUtf8(assignment) == assignment.size();
    faults.AddAt(mark, "",
                 utf8 ? "the value is not YAML (hint: quotes around a text, key=\"a: b\")"
                      : "the value is not UTF-8");
    return;
  }
  Remark(value, mark);
  YamlNode* node = &root;
  std::istringstream path(assignment.substr(0, equals));
  int depth = 0;
  for (std::string key; std::getline(path, key, '.');) {
    if (++depth > kMaxYamlDepth) {
      faults.AddAt(mark, "", fmt::format("nested more than {} deep", kMaxYamlDepth));
      return;
    }
    node = Step(*node, key, mark, faults);
    if (node == nullptr) return;
  }
  *node = std::move(value);
}

}  // namespace bisparse::train
