// SPDX-License-Identifier: Apache-2.0
// RunProgram: whatever is thrown ends in one line and a documented exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "apps/support/program.h"
#include "bisparse/error.h"

namespace bisparse::apps {
namespace {

namespace fs = std::filesystem;

struct Ended {
  int code;
  std::string err;
};

Ended RunBody(const std::function<int()>& body) {
  CLI::App app("A program.", "bisparse-test");
  std::string name = "bisparse-test";
  char* argv[] = {name.data(), nullptr};
  testing::internal::CaptureStderr();
  const int code = RunProgram(app, 1, argv, body);
  return {code, testing::internal::GetCapturedStderr()};
}

TEST(RunProgram, TurnsWhatIsThrownIntoALineAndACode) {
  struct Case {
    const char* what;
    std::function<void()> thrower;
    int code;
    std::string err;
  };
  const std::string name(300, 'x');
  const std::vector<Case> cases = {
      {"configuration", [] { throw Error(ErrorKind::kConfiguration, "a.yaml:1:2", "bad"); }, 2,
       "a.yaml:1:2: bad"},
      {"data", [] { throw Error(ErrorKind::kData, "a.wav", "bad"); }, 3, "a.wav: bad"},
      {"defect", [] { throw Error(ErrorKind::kInternal, "a.cc", "bad"); }, 1, "a.cc: bad"},
      {"filesystem", [&] { (void)fs::exists(name); }, 3,
       name + ": cannot be used: File name too long (hint: choose a shorter name)"},
      {"filesystem, no path",
       [] { throw fs::filesystem_error("here", std::make_error_code(std::errc::io_error)); }, 3,
       "cannot be used: Input/output error"},
      {"JSON that is none", [] { const auto json = nlohmann::json::parse("{"); }, 3, "JSON: "},
      {"JSON of no UTF-8", [] { (void)nlohmann::json("\xff").dump(); }, 3, "JSON: "},
      {"threads", [] { throw std::system_error(EAGAIN, std::generic_category(), "thread"); }, 1,
       "out of threads (hint: fewer of them, or raise `ulimit -u` and `ulimit -v`)"},
      {"a thread of none", [] { std::thread().join(); }, 3, "system: "},
      {"memory", [] { throw std::bad_alloc(); }, 1, "out of memory (hint: "},
      {"more than any memory", [] { std::vector<char>().reserve(SIZE_MAX); }, 1,
       "out of memory (hint: "},
      {"flags", [] { throw CLI::ValidationError("--x", "bad"); }, 2, "flags: --x: bad"},
      {"a backtrace", [] { throw std::runtime_error("first\nsecond"); }, 1,
       "internal error: first\n"},
      {"no exception", [] { throw 7; }, 1, "internal error: "}};
  for (const Case& c : cases) {
    const Ended ended = RunBody([&] {
      c.thrower();
      return 0;
    });
    EXPECT_EQ(ended.code, c.code) << c.what;
    EXPECT_THAT(ended.err, testing::StartsWith("bisparse-test: " + c.err)) << c.what;
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << c.what;
  }
}

TEST(RunProgram, ShowsMessagesWithEscapes) {
  const Ended ended =
      RunBody([]() -> int { throw Error(ErrorKind::kData, "a\x1b[2J\xff", "bad\n  second line"); });
  EXPECT_EQ(ended.err, "bisparse-test: a\\x1b[2J\\xff: bad\n  second line\n");
}

TEST(RunProgram, PassesOnTheCode) {
  EXPECT_EQ(RunBody([] { return 130; }).code, 130);
  EXPECT_EQ(RunBody([] { return 0; }).err, "");
}

}  // namespace
}  // namespace bisparse::apps
