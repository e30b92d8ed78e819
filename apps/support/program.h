// SPDX-License-Identifier: Apache-2.0
// What every program shares: flags, version, standard streams, signals, and exit codes from exceptions.
//   0 done · 1 internal error, no memory, no threads · 2 configuration or flags · 3 data or file (stdout too) ·
//   130 stopped by a signal
// Results go through PrintResult, all else through PrintRemark (deploy/base/print.h).
#ifndef BISPARSE_APPS_SUPPORT_PROGRAM_H_
#define BISPARSE_APPS_SUPPORT_PROGRAM_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace bisparse::apps {

/// The footer of --help: an example and the exit codes.
std::string Footer(const std::string& example);

/// A flag that prints `text` and ends the program, whatever else is or is not given.
void AddTextFlag(CLI::App& app, const std::string& flag, std::string (*text)(),
                 const std::string& help);

/// Parses the flags, then runs `body`; whatever is thrown becomes a line on stderr, "program:
/// where: what, allowed, hint", and the exit code above. Before that:
///   - a standard stream that the caller closed is opened on /dev/null, so that no file of ours gets its number; what
///     is written to a stdout that was closed fails
///   - SIGPIPE and SIGXFSZ no longer end the program: a reader that went away and a limit on file sizes are errors of
///     the write, and of those only results count
///   - an empty value of a flag is refused, and so is a number that is none: NaN, infinite, too large for its type,
///     negative where that makes no sense, octal
int RunProgram(CLI::App& app, int argc, char** argv, const std::function<int()>& body);

/// A file that a program reads or writes, and the flag or argument that names it.
struct NamedPath {
  std::string flag;
  std::string path;  ///< empty: there is none
};

/// For outputs that long work ends in; "-" is stdout. Throws Error (kData) where it is known that one cannot be written,
/// (kConfiguration) where two are one file, links followed, or one would replace a file of `inputs`, which are models,
/// configurations and arrays. Devices may be given twice.
void RequireOutputs(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs);

/// For long work that the user may end: SIGINT, SIGTERM and SIGHUP call `handler`, but for those that the caller had
/// ignored (nohup, a job in the background).
void OnStopSignals(void (*handler)(int signal));

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_PROGRAM_H_
