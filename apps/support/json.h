// SPDX-License-Identifier: Apache-2.0
// The programs' JSON, as bytes that every reader takes and every terminal bears, whatever names are in it.
// Tested in: tests/programs.
#ifndef BISPARSE_APPS_SUPPORT_JSON_H_
#define BISPARSE_APPS_SUPPORT_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

namespace bisparse::apps {

/// Two spaces of indentation, one line feed at the end. UTF-8: a byte that is none becomes U+FFFD. What controls a
/// terminal is escaped.
std::string JsonText(const nlohmann::ordered_json& json);

/// The same on one line.
std::string JsonLine(const nlohmann::ordered_json& json);

/// Writes it whole or not at all (WriteFileAtomically); "-" is stdout.
void WriteJson(const nlohmann::ordered_json& json, const std::string& path);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_JSON_H_
