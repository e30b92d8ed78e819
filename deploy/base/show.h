// SPDX-License-Identifier: Apache-2.0
// Text that others wrote (names of files, classes and layers, words of a configuration) as it may be shown. Such text
// can hold bytes that are no UTF-8, or control characters that move the cursor, clear the screen or retitle a terminal.
// They are shown as escapes; all other text stays as it is, so that showing twice is the same as showing once.
// Tested in: show_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_SHOW_H_
#define BISPARSE_DEPLOY_BASE_SHOW_H_

#include <string>
#include <string_view>

namespace bisparse {

/// A name, on one line. A byte that is no UTF-8 or is below 0x20 becomes `\xff`. Another character that controls the
/// terminal or the direction of writing becomes `\u202e`, as in JSON.
std::string Shown(std::string_view text);

/// Many lines: as Shown, but line feeds and tabs stay.
std::string ShownLines(std::string_view text);

/// As it is, but for NUL bytes: a C string (what() of an exception, a path) ends at the first.
std::string NulShown(std::string text);

/// One argument of a shell's command line (POSIX; `$'…'` of bash where it holds control characters): unchanged where
/// nothing in it is special, else in quotes. An argument that begins with "-" gets "./" first: it is a path.
std::string ShellQuoted(const std::string& path);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_SHOW_H_
