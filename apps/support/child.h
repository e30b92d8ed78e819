// SPDX-License-Identifier: Apache-2.0
// A program that draws, run without a shell. Tested in: tests/programs/inspect_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_CHILD_H_
#define BISPARSE_APPS_SUPPORT_CHILD_H_

#include <string>
#include <vector>

namespace bisparse::apps {

/// What the program writes to stdout for an input file that it is given after `arguments`. Throws Error: kConfiguration
/// with the Debian `package` where the program is not installed, kData about `path` where it fails.
std::string OutputOf(const std::string& program, std::vector<std::string> arguments,
                     const std::string& input, const std::string& package, const std::string& path);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_CHILD_H_
