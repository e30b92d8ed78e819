// SPDX-License-Identifier: Apache-2.0
// The version, and what it means for programs: everything of the API lies in an inline namespace of major and minor
// version. Two versions in one process (plug-ins) therefore don't call each other, and a header that is not the
// library's own is an error of the linker. The rest of the library has hidden symbols.
// CMakeLists.txt reads the three numbers. Tested in: tests/install_consumer.
#ifndef BISPARSE_PLAIN_C_  // bisparse.h is C; each other header says here what it needs, whichever came first
#ifndef __cplusplus
#error "this header of bisparse is C++ (hint: C programs include bisparse/bisparse.h)"
#elif __cplusplus <= 201703L
#error \
    "bisparse needs C++20: compile with -std=c++20 or later (or include bisparse/bisparse.h, which is C)"
#endif
#endif

#ifndef BISPARSE_VERSION_H_
#define BISPARSE_VERSION_H_

#define BISPARSE_VERSION_MAJOR 0
#define BISPARSE_VERSION_MINOR 1
#define BISPARSE_VERSION_PATCH 0

#define BISPARSE_NAMESPACE_OF_(major, minor) v##major##_##minor
#define BISPARSE_NAMESPACE_OF(major, minor) BISPARSE_NAMESPACE_OF_(major, minor)
/// v0_1: `bisparse::Engine` is `bisparse::v0_1::Engine`.
#define BISPARSE_VERSION_NAMESPACE \
  BISPARSE_NAMESPACE_OF(BISPARSE_VERSION_MAJOR, BISPARSE_VERSION_MINOR)

/// What a shared library exports, also where the rest of a program is compiled with hidden visibility.
#define BISPARSE_API __attribute__((visibility("default")))
/// A member of an exported class that is not for programs.
#define BISPARSE_HIDDEN __attribute__((visibility("hidden")))

#endif  // BISPARSE_VERSION_H_
