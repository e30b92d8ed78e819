// SPDX-License-Identifier: Apache-2.0
// A program of this package that takes this one's place. Tested in: tests/programs/train_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_SIBLING_H_
#define BISPARSE_APPS_SUPPORT_SIBLING_H_

#include <string>
#include <vector>

namespace bisparse::apps {

/// Becomes the program `name` beside this one, with these arguments; it has this one's streams, and its exit code counts.
/// Throws Error (kConfiguration) where it is not there: `flag` is what wanted it, `needs` what it is built with.
[[noreturn]] void BecomeSibling(const std::string& name, const std::vector<std::string>& arguments,
                                const std::string& flag, const std::string& needs);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_SIBLING_H_
