// SPDX-License-Identifier: Apache-2.0
// What every program shares: flags, version, and exit codes from exceptions.
//   0 done · 1 internal error · 2 configuration or flags · 3 data or file · 130 stopped by a signal
#ifndef BISPARSE_APPS_SUPPORT_PROGRAM_H_
#define BISPARSE_APPS_SUPPORT_PROGRAM_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace bisparse::apps {

/// The footer of --help: an example and the exit codes.
std::string Footer(const std::string& example);

/// A flag that prints `text` and ends the program, whatever else is or is not given.
void AddTextFlag(CLI::App& app, const std::string& flag, std::string (*text)(),
                 const std::string& help);

/// Parses the flags, then runs `body`; whatever is thrown becomes a line on stderr, "program:
/// where: what, allowed, hint", and the exit code above.
int RunProgram(CLI::App& app, int argc, char** argv, const std::function<int()>& body);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_PROGRAM_H_
