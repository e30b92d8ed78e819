// SPDX-License-Identifier: Apache-2.0
// Read first: recording_lists.h. Tested in: speech_commands_layout_test.cc.
#include "data/recording_lists.h"

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\"");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\"") - begin + 1);
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return text;
}

std::string WithoutExtension(const std::string& path) {
  const std::filesystem::path p(path);
  return (p.parent_path() / p.stem()).string();
}

std::string LastPart(const std::string& key) { return key.substr(key.rfind('/') + 1); }

const std::vector<std::string>& At(const std::map<std::string, std::vector<std::string>>& map,
                                   const std::string& key) {
  static const std::vector<std::string> none;
  const auto entry = map.find(key);
  return entry == map.end() ? none : entry->second;
}

/// "PATH,WHAT" and so on; the path may hold commas and spaces itself.
std::pair<std::string, std::string> InTwo(const std::string& line) {
  size_t at = line.rfind('\t');
  if (at == std::string::npos) at = line.rfind(',');
  if (at == std::string::npos) at = line.rfind(';');
  if (at == std::string::npos) at = line.rfind(' ');
  if (at == std::string::npos) return {line, ""};
  return {Trimmed(line.substr(0, at)), Trimmed(line.substr(at + 1))};
}

}  // namespace

std::string BelowRoot(const std::string& root, const std::string& path) {
  return path.substr(path.find_first_not_of('/', root.size()));
}

std::vector<std::string> ReadListLines(const std::string& path) {
  std::string text = ReadTextFile(path);
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") ||
      text.find('\0') != std::string::npos) {
    Fail(ErrorKind::kData, path, "is UTF-16 or no text at all (hint: save it as UTF-8)");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  std::replace(text.begin(), text.end(), '\r', '\n');
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line = Trimmed(line); !line.empty()) lines.push_back(line);
  }
  return lines;
}

RecordingIndex::RecordingIndex(const std::string& root, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const std::string key = WithoutExtension(BelowRoot(root, path));
    by_key_[key].push_back(path);
    by_lower_key_[Lower(key)].push_back(path);
    by_name_[LastPart(key)].push_back(path);
    by_lower_name_[Lower(LastPart(key))].push_back(path);
  }
}

std::vector<std::string> RecordingIndex::Find(std::string name, int64_t times) const {
  std::replace(name.begin(), name.end(), '\\', '/');
  for (const std::string& whole : {name, WithoutExtension(name)}) {
    for (const auto& [map, key] : {std::pair{&by_key_, whole}, {&by_lower_key_, Lower(whole)}}) {
      for (size_t at = 0; key.find('/', at) != std::string::npos; at = key.find('/', at) + 1) {
        const std::vector<std::string>& found = At(*map, key.substr(at));
        // Files that differ in their extension alone are one recording, those that differ in case
        // are not.
        const auto same = [&](const std::string& path) {
          return WithoutExtension(path) == WithoutExtension(found[0]);
        };
        if (!found.empty() && std::all_of(found.begin(), found.end(), same)) return found;
      }
    }
    if (name.find('/') != std::string::npos) continue;
    for (const auto* found : {&At(by_name_, whole), &At(by_lower_name_, Lower(whole))}) {
      if (!found->empty() && (found->size() == 1 || std::ssize(*found) == times)) return *found;
    }
  }
  return {};
}

ListedRecordings ReadRecordingList(const std::string& path, const RecordingIndex& index,
                                   bool with_second) {
  ListedRecordings list;
  std::vector<std::pair<std::string, std::string>> lines;  // recording, what is said of it
  std::map<std::string, int64_t> times;
  for (const std::string& line : ReadListLines(path)) {
    lines.push_back(with_second ? InTwo(line) : std::pair{line, std::string()});
    ++times[lines.back().first];
  }
  for (const auto& [line, said] : lines) {
    // The first line may name the columns.
    if (with_second && list.lines == 0 && list.entries.empty() && Lower(said) == "speaker")
      continue;
    ++list.lines;
    std::vector<std::string> found = index.Find(line, times[line]);
    if (const size_t tab = line.find('\t'); found.empty() && tab != std::string::npos) {
      found = index.Find(Trimmed(line.substr(0, tab)), 1);  // a column of labels follows
    }
    if (found.empty() || (with_second && said.empty())) {
      if (list.unmatched++ == 0) list.first_unmatched = line;
    }
    for (const std::string& recording : found) list.entries.push_back({recording, line, said});
  }
  return list;
}

}  // namespace bisparse::data
