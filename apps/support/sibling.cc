// SPDX-License-Identifier: Apache-2.0
// Read first: sibling.h. Tested in: tests/programs/train_test.cc.
#include "apps/support/sibling.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "deploy/base/check.h"

namespace bisparse::apps {

void BecomeSibling(const std::string& name, const std::vector<std::string>& arguments,
                   const std::string& flag, const std::string& needs) {
  std::error_code error;
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name;
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::fflush(nullptr);
  ::execv(program.c_str(), argv.data());
  Fail(ErrorKind::kConfiguration, flag,
       "needs the program {}, which cannot be started (hint: build with {})", program, needs);
}

}  // namespace bisparse::apps
