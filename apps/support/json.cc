// SPDX-License-Identifier: Apache-2.0
// Read first: json.h.
#include "apps/support/json.h"

#include "deploy/base/file.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"

namespace bisparse::apps {

std::string JsonText(const nlohmann::ordered_json& json) {
  return ShownLines(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)) + "\n";
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return ShownLines(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) + "\n";
}

void WriteJson(const nlohmann::ordered_json& json, const std::string& path) {
  if (path == "-") return WriteResult(JsonText(json));
  WriteFileAtomically(path, JsonText(json));
}

}  // namespace bisparse::apps
