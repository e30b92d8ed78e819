// SPDX-License-Identifier: Apache-2.0
// The tables of docs/json.md, to compare with what programs write. Used by: json_test.cc, train_test.cc.
#ifndef BISPARSE_TESTS_PROGRAMS_JSON_PAGE_H_
#define BISPARSE_TESTS_PROGRAMS_JSON_PAGE_H_

#include <set>
#include <sstream>
#include <string>

#include "deploy/base/file.h"
#include "tests/programs/programs_test.h"

namespace bisparse {

/// First column of the table below "## `section`" in docs/json.md.
inline std::set<std::string> KeysOnPage(const std::string& section) {
  std::istringstream page(ReadTextFile(BISPARSE_SOURCE_DIR "/docs/json.md"));
  std::set<std::string> keys;
  bool here = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## ")) here = line == "## " + section;
    if (!here || !line.starts_with("| `")) continue;
    const std::string key = line.substr(3, line.find('`', 3) - 3);
    EXPECT_TRUE(keys.insert(key).second) << section << ": " << key << " has two rows";
  }
  EXPECT_FALSE(keys.empty()) << "docs/json.md has no section " << section;
  return keys;
}

/// Adds the paths of all values in `json` as docs/json.md writes them. Names that are data are <mode> and <peer>.
inline void AddKeys(const Json& json, const std::string& path, std::set<std::string>& keys) {
  if (json.is_array() && !json.empty() && json[0].is_object()) {
    for (const Json& element : json) AddKeys(element, path + "[]", keys);
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      const std::string name = path == "modes"                              ? "<mode>"
                               : path == "peers" || path == "peers_missing" ? "<peer>"
                                                                            : key;
      AddKeys(value, path.empty() ? name : path + "." + name, keys);
    }
  } else if (!path.empty()) {
    keys.insert(path);
  }
}

}  // namespace bisparse

#endif  // BISPARSE_TESTS_PROGRAMS_JSON_PAGE_H_
