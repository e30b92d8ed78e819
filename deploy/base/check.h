// SPDX-License-Identifier: Apache-2.0
// Fail(kind, location, "format", args…): throws bisparse::Error with a formatted message. NUL bytes of foreign text are
// written as \x00 in it, since what() ends at the first.
#ifndef BISPARSE_DEPLOY_BASE_CHECK_H_
#define BISPARSE_DEPLOY_BASE_CHECK_H_

#include <fmt/format.h>

#include <string>
#include <utility>

#include "bisparse/error.h"
#include "deploy/base/show.h"

namespace bisparse {

template <typename... Args>
[[noreturn]] void Fail(ErrorKind kind, const std::string& location,
                       fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, NulShown(location), NulShown(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace bisparse

/// A defect of bisparse itself if it does not hold; never for bad input.
#define BISPARSE_CHECK(condition)                                                               \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      ::bisparse::Fail(::bisparse::ErrorKind::kInternal, __FILE__, "line {}: {} does not hold", \
                       __LINE__, #condition);                                                   \
    }                                                                                           \
  } while (false)

#endif  // BISPARSE_DEPLOY_BASE_CHECK_H_
