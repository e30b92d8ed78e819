// SPDX-License-Identifier: Apache-2.0
// Read first: process.h.
#include "data/synthesis/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

extern char** environ;

namespace bisparse::data {

int RunProcess(const std::vector<std::string>& arguments, const std::string& out) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0666);
  pid_t child = 0;
  const int error = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  const auto missing = [&] {
    Fail(ErrorKind::kData, arguments[0],
         "the program is not on the PATH (hint: apt-get install {})", arguments[0]);
  };
  if (error == ENOENT) missing();
  if (error != 0) FailErrno(arguments[0], "can't run", error);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) FailErrno(arguments[0], "can't be waited for", errno);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) missing();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace bisparse::data
