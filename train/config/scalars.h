// SPDX-License-Identifier: Apache-2.0
// Plain YAML scalars → numbers, more strictly than YAML: 010 is refused (YAML 1.1 reads 8, people
// mean 10), so are 0x10, 1_000, nan and inf. Tested in: load_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_SCALARS_H_
#define BISPARSE_TRAIN_CONFIG_SCALARS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bisparse::train {

/// 010, -007, 00.5: digits after a leading zero.
bool HasLeadingZero(std::string_view text);
std::optional<int64_t> ParseWhole(std::string_view text);
std::optional<uint64_t> ParseUnsigned(std::string_view text);
/// Finite numbers only.
std::optional<double> ParseReal(std::string_view text);

/// The word nearest to `text` by edits, if it is near enough to be a slip; else empty.
std::string Nearest(std::string_view text, std::span<const std::string> words);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_SCALARS_H_
