// SPDX-License-Identifier: Apache-2.0
// Linked into every test program. testing::TempDir() is a folder of the process's own, removed at its end: tests may use
// fixed names, whoever else runs the same tests on the machine, and whoever did before. The C library takes numbers as the
// environment's locale says, as in a program that embeds the library: nothing may depend on it. Messages stay English.
#include <stdlib.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

namespace {

class TestProcess {
 public:
  TestProcess() : owner_(getpid()) {
    std::setlocale(LC_NUMERIC, "");
    std::error_code error;
    folder_ = (std::filesystem::temp_directory_path(error) / "bisparse_test_XXXXXX").string();
    if (error || mkdtemp(folder_.data()) == nullptr) {
      std::perror(folder_.c_str());
      _exit(1);
    }
    setenv("TEST_TMPDIR", folder_.c_str(), 1);
  }
  ~TestProcess() {
    if (getpid() != owner_) return;  // a child that ends on its own
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TestProcess(const TestProcess&) = delete;
  TestProcess& operator=(const TestProcess&) = delete;

 private:
  pid_t owner_;
  std::string folder_;
};

const TestProcess test_process;

}  // namespace
