// SPDX-License-Identifier: Apache-2.0
// Flags, version and exit codes of every program.
#include "apps/support/program.h"

#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "bisparse/error.h"

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

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  app.set_version_flag("--version", "bisparse " BISPARSE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return body();
  } catch (const Error& error) {
    fmt::print(stderr, "{}: error: {}\n", app.get_name(), error.what());
    return ExitCode(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: error: out of memory\n", app.get_name());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: internal error: {}\n", app.get_name(), error.what());
    return 1;
  }
}

}  // namespace bisparse::apps
