// SPDX-License-Identifier: Apache-2.0
// Flags, version and exit codes of every program.
#include "apps/support/program.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <new>

#include "bisparse/error.h"
#include "deploy/base/file.h"

namespace bisparse::apps {
namespace {

int ExitCode(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfiguration:
      return 2;
    case ErrorKind::kData:
      return 3;
    case ErrorKind::kInternal:
      return 1;
  }
  return 1;
}

}  // namespace

std::string Footer(const std::string& example) {
  return "Example:\n  " + example +
         "\n\nExit codes: 0 done, 1 internal error, 2 configuration or flags, 3 data or file, "
         "130 stopped by a signal.";
}

void AddTextFlag(CLI::App& app, const std::string& flag, std::string (*text)(),
                 const std::string& help) {
  const auto print = [text] {
    fmt::print("{}", text());
    throw CLI::Success();
  };
  app.add_flag_callback(flag, print, help);
}

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  app.set_version_flag("--version", "bisparse " BISPARSE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "{0}: flags: {1} (hint: {0} --help)\n", app.get_name(), error.what());
    return 2;
  }
  try {
    const int code = body();
    // A full disk shows when the last of the output leaves its buffer.
    if (std::fflush(stdout) != 0) FailErrno("stdout", "cannot be written", errno);
    return code;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", app.get_name(), error.what());
    return ExitCode(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: out of memory\n", app.get_name());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: internal error: {}\n", app.get_name(), error.what());
    return 1;
  }
}

}  // namespace bisparse::apps
