// SPDX-License-Identifier: Apache-2.0
// DocumentSchema: the schema as a Markdown reference. Read first: print.h. Tested in:
// print_test.cc.
#include <fmt/format.h>

#include <string_view>

#include "train/config/operators.h"
#include "train/config/print.h"
#include "train/config/schema.h"

namespace bisparse::train {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration reference

Generated from the schema (`bisparse-train --document-config`); a test keeps the two equal. A training run is one YAML
file; `bisparse-train FILE --dry-run` checks it and prints the network's table, `--print-config` prints it with every
default. Faults are reported all at once, each with file, line and column.

- A **required** key has no default. Paths are relative to the folder in which the program runs.
- `[a, b)` means a ≤ x < b; `1 … 64` includes both ends.
- Numbers are plain: `010` is refused (YAML would read 8). `true` and `false` are the only truth values.
- A row that says *only with* is refused elsewhere.

The columns are key, default, allowed values, meaning.
)";

class Documenter : public SchemaVisitor {
 public:
  std::string Take() { return std::move(text_); }

  void Heading(const std::string& title, const char* meaning) {
    text_ += fmt::format("\n## {}\n\n{}\n", title, meaning);
    OpenTable();
  }
  void OpenTable() { text_ += "\n| key | default | allowed | meaning |\n|---|---|---|---|\n"; }

  void Int(const char* key, int32_t& value, Range range, const char* meaning, Need need) override {
    Row(key, fmt::format("{}", value), "whole, " + range.Text(), meaning, need);
  }
  void Seed(const char* key, uint64_t& value, const char* meaning) override {
    Row(key, fmt::format("{}", value), "whole, ≥ 0", meaning);
  }
  void Real(const char* key, double& value, Range range, const char* meaning) override {
    Row(key, fmt::format("{}", value), range.Text(), meaning);
  }
  void Real(const char* key, float& value, Range range, const char* meaning) override {
    Row(key, fmt::format("{}", value), range.Text(), meaning);
  }
  void Bool(const char* key, bool& value, const char* meaning) override {
    Row(key, value ? "true" : "false", "true, false", meaning);
  }
  void Text(const char* key, std::string& value, const char* meaning, Need need) override {
    Row(key, value.empty() ? "" : value, "text", meaning, need);
  }
  void TextList(const char* key, std::vector<std::string>&, bool or_one,
                const char* meaning) override {
    Row(key, "[]", or_one ? "text or list of texts" : "list of words", meaning);
  }
  void Ints(const char* key, std::span<int32_t* const> values, bool one_for_all, Range range,
            const char* meaning, Need need) override {
    Row(key, fmt::format("{}", *values[0]),
        fmt::format("{}{} numbers, {}", one_for_all ? "one or " : "", values.size(), range.Text()),
        meaning, need);
  }
  void Reals(const char* key, std::vector<float>&, Range range, const char* meaning) override {
    Row(key, "[]", "list of numbers, " + range.Text(), meaning);
  }
  void Word(const char* key, int& index, Words words, const char* meaning) override {
    Row(key, words[static_cast<size_t>(index)], Join(words), meaning);
  }
  void WordOrNumber(const char* key, int& index, Words words, double& number, bool, Range range,
                    const char* meaning, Need need) override {
    const size_t word = static_cast<size_t>(index);
    Row(key, word < words.size() ? words[word] : fmt::format("{}", number),
        fmt::format("{}, or {}", Join(words), range.Text()), meaning, need);
  }
  void Section(const char* key, const char* meaning, const std::function<void()>& body) override {
    const std::string outer = prefix_;
    if (outer.empty() && layer_ == nullptr) {
      Heading(key,
              when_.empty() ? meaning : fmt::format("{} Only with {}.", meaning, when_).c_str());
      std::string when;
      std::swap(when, when_);
      prefix_ = std::string(key) + ".";
      body();
      std::swap(when, when_);
    } else {
      Row(key, "", "section", meaning);
      prefix_ += std::string(key) + ".";
      body();
    }
    prefix_ = outer;
  }
  void Only(bool, const char* when, const std::function<void()>& body) override {
    const std::string outer = when_;
    when_ += (when_.empty() ? "`" : ", `") + std::string(when) + "`";
    body();
    when_ = outer;
  }
  void LayerNames(const char* key, std::vector<std::string>&, bool several, const char* meaning,
                  Need need) override {
    Row(key, "", several ? "name or list of names" : "name", meaning, need);
  }
  void Layers(const char* key, std::vector<LayerConfig>&, const char* meaning) override {
    text_ += fmt::format(
        "\n## {}\n\n{} Required. An item is `- kind: {{key: value, …}}`, or `- kind` where every "
        "key has a default.\n",
        key, meaning);
    for (size_t i = 0; i < LayerKindWords().size(); ++i) {
      LayerConfig layer = DefaultLayer(static_cast<LayerKind>(i));
      text_ += fmt::format("\n### {}\n\n{}\n", LayerKindName(layer.kind),
                           OperatorOf(layer.kind).meaning);
      OpenTable();
      layer_ = &layer;
      VisitLayer(*this, layer);
      layer_ = nullptr;
    }
  }

 private:
  static std::string Join(Words words) {
    std::string text;
    for (const char* word : words) text += fmt::format("{}`{}`", text.empty() ? "" : ", ", word);
    return text;
  }

  void Row(const std::string& key, const std::string& value, const std::string& allowed,
           const std::string& meaning, Need need = Need::kOptional) {
    const std::string shown = need == Need::kRequired ? "**required**"
                              : value.empty()         ? ""
                                                      : "`" + value + "`";
    text_ += fmt::format("| `{}{}` | {} | {} | {}{} |\n", prefix_, key, shown, allowed, meaning,
                         when_.empty() ? "" : fmt::format(" *Only with* {}.", when_));
  }

  std::string text_, prefix_, when_;
  const LayerConfig* layer_ = nullptr;
};

}  // namespace

std::string DocumentSchema() {
  Config defaults;
  Documenter documenter;
  documenter.Heading("Top level", "The file's own keys.");
  VisitConfig(documenter, defaults);
  return std::string(kIntroduction) + documenter.Take();
}

}  // namespace bisparse::train
