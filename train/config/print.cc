// SPDX-License-Identifier: Apache-2.0
// Read first: print.h. Tested in: print_test.cc.
#include "train/config/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "train/config/schema.h"

namespace bisparse::train {
namespace {

class Printer : public SchemaVisitor {
 public:
  std::string Take() { return std::move(text_); }

  void Int(const char* key, int32_t& value, Range, const char*, Need) override {
    Row(key, fmt::format("{}", value));
  }
  void Seed(const char* key, uint64_t& value, const char*) override {
    Row(key, fmt::format("{}", value));
  }
  void Real(const char* key, double& value, Range, const char*) override {
    Row(key, fmt::format("{}", value));
  }
  void Real(const char* key, float& value, Range, const char*) override {
    Row(key, fmt::format("{}", value));
  }
  void Bool(const char* key, bool& value, const char*) override {
    Row(key, value ? "true" : "false");
  }
  void Text(const char* key, std::string& value, const char*, Need) override {
    Row(key, QuotedYaml(value));
  }
  void TextList(const char* key, std::vector<std::string>& value, bool, const char*) override {
    std::string list;
    for (const std::string& word : value) list += (list.empty() ? "" : ", ") + QuotedYaml(word);
    Row(key, "[" + list + "]");
  }
  void Ints(const char* key, std::span<int32_t* const> values, bool, Range, const char*,
            Need) override {
    std::string list;
    for (const int32_t* value : values)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", *value);
    Row(key, "[" + list + "]");
  }
  void Reals(const char* key, std::vector<float>& values, Range, const char*) override {
    std::string list;
    for (const float value : values) list += fmt::format("{}{}", list.empty() ? "" : ", ", value);
    Row(key, "[" + list + "]");
  }
  void Word(const char* key, int& index, Words words, const char*) override {
    Row(key, words[static_cast<size_t>(index)]);
  }
  void WordOrNumber(const char* key, int& index, Words words, double& number, bool, Range,
                    const char*, Need) override {
    const size_t word = static_cast<size_t>(index);
    Row(key, word < words.size() ? words[word] : fmt::format("{}", number));
  }
  void Section(const char* key, const char*, const std::function<void()>& body) override {
    if (indent_ == 0) text_ += "\n";
    text_ += fmt::format("{:{}}{}:\n", "", indent_, key);
    indent_ += 2;
    body();
    indent_ -= 2;
  }
  void Only(bool applies, const char*, const std::function<void()>& body) override {
    if (applies) body();
  }
  void LayerNames(const char* key, std::vector<std::string>& names, bool, const char*,
                  Need) override {
    if (names.empty()) return;  // the layer before, which has no word
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + QuotedYaml(name);
    Row(key, names.size() == 1 ? list : "[" + list + "]");
  }
  void Layers(const char* key, std::vector<LayerConfig>& layers, const char*) override {
    text_ += fmt::format("\n{}:\n", key);
    for (LayerConfig& layer : layers) {
      text_ += fmt::format("  - {}:\n", LayerKindName(layer.kind));
      indent_ = 6;
      VisitLayer(*this, layer);
      indent_ = 0;
    }
  }

 private:
  void Row(const char* key, const std::string& value) {
    text_ += fmt::format("{:{}}{}: {}\n", "", indent_, key, value);
  }

  std::string text_;
  int indent_ = 0;
};

}  // namespace

std::string QuotedYaml(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '/' || c == '.' || c == '-';
  };
  static const char* const kReserved[] = {"null", "true", "false", "yes", "no",
                                          "on",   "off",  "y",     "n"};
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool reserved =
      std::find(std::begin(kReserved), std::end(kReserved), lower) != std::end(kReserved);
  if (!text.empty() && !reserved && std::all_of(text.begin(), text.end(), plain) &&
      (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_' || text[0] == '/')) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string PrintConfig(const Config& config) {
  // Visitors take a mutable Config, since one of them fills it; this one only reads.
  Config copy = config;
  Printer printer;
  VisitConfig(printer, copy);
  return printer.Take();
}

}  // namespace bisparse::train
