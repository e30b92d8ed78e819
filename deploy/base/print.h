// SPDX-License-Identifier: Apache-2.0
// The two kinds of output that a program has. Results go to stdout and somebody waits for them: where they cannot be
// written, that is an error. Remarks and progress go to a log or a terminal that may be full, closed or gone: they never
// end the work. Both show foreign text with escapes (show.h). Tested in: print_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_PRINT_H_
#define BISPARSE_DEPLOY_BASE_PRINT_H_

#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <utility>

namespace bisparse {

/// The bytes as they are, for other programs to read. Throws Error (kData) where stdout cannot be written. What is
/// still in stdout's buffer is not yet written: FlushResults tells.
void WriteResult(std::string_view bytes);
void FlushResults();

/// Text as it may be shown to people.
void WriteShownResult(std::string_view text);
template <typename... Args>
void PrintResult(fmt::format_string<Args...> format, Args&&... args) {
  WriteShownResult(fmt::format(format, std::forward<Args>(args)...));
}

/// Text as it may be shown to people, at once; whatever becomes of it. Throws nothing but std::bad_alloc.
void WriteRemark(std::FILE* out, std::string_view text);
template <typename... Args>
void PrintRemark(std::FILE* out, fmt::format_string<Args...> format, Args&&... args) {
  WriteRemark(out, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_PRINT_H_
