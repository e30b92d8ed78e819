// SPDX-License-Identifier: Apache-2.0
// Read first: child.h. The input and the output lie in a folder of their own while the program runs.
#include "apps/support/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::apps {
namespace {

/// Exit status of `PROGRAM ARGUMENT… >OUTPUT`.
int Run(const std::string& program, std::vector<std::string> arguments, const std::string& output,
        const std::string& package) {
  std::vector<char*> argv;
  arguments.insert(arguments.begin(), program);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL, 0600);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    Fail(ErrorKind::kConfiguration, program,
         "cannot be started: {} (hint: it is in the package {})",
         std::generic_category().message(error), package);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) FailErrno(program, "its end is not known", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

std::string OutputOf(const std::string& program, std::vector<std::string> arguments,
                     const std::string& input, const std::string& package,
                     const std::string& path) {
  const TemporaryFolder folder;
  WriteFileAtomically(folder / "input", input);
  arguments.push_back(folder / "input");
  const int status = Run(program, std::move(arguments), folder / "output", package);
  if (status != 0) {
    Fail(ErrorKind::kData, path, "{} ended with {} (its message is above; hint: is {} full?)",
         program, status, folder.path());
  }
  return ReadTextFile(folder / "output");
}

}  // namespace bisparse::apps
