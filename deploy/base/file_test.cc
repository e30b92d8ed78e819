// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "bisparse/error.h"

namespace bisparse {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string NewFolder(const std::string& name) {
  const std::string folder = testing::TempDir() + "file_test_" + name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

int FilesIn(const std::string& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

template <typename Action>
void ExpectError(const std::string& location, const std::string& part, Action action) {
  try {
    action();
    FAIL() << "no error for " << location;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_EQ(error.location(), location);
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(WriteFileAtomically, WritesAndReplaces) {
  const std::string folder = NewFolder("replaces"), path = folder + "/a.txt";
  WriteFileAtomically(path, std::string_view("first"));
  EXPECT_EQ(ReadTextFile(path), "first");
  const std::string second(300'000, 'x');
  WriteFileAtomically(path, second);
  EXPECT_EQ(ReadTextFile(path), second);
  WriteFileAtomically(path, std::string_view());
  EXPECT_EQ(ReadTextFile(path), "");
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(WriteFileAtomically, NamesTheCauseAndLeavesNothingBehind) {
  const std::string folder = NewFolder("errors");
  ExpectError(folder + "/no/a.txt", "No such file or directory (hint: check the path",
              [&] { WriteFileAtomically(folder + "/no/a.txt", std::string_view("x")); });
  fs::create_directory(folder + "/sub");
  fs::create_directory(folder + "/sub/full");
  ExpectError(folder + "/sub", "Is a directory (hint: this is a folder",
              [&] { WriteFileAtomically(folder + "/sub", std::string_view("x")); });
  EXPECT_EQ(FilesIn(folder), 1);
}

// A limit on file sizes stands in for a full disk: both make write() stop half way.
TEST(WriteFileAtomically, KeepsTheOldFileWhenTheDiskIsFull) {
  const std::string folder = NewFolder("full"), path = folder + "/a.txt";
  WriteFileAtomically(path, std::string_view("old"));
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  ExpectError(path, "cannot be written: File too large (hint: ", [&] {
    WriteFileAtomically(path, std::string(5000, 'x'));
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(ReadTextFile(path), "old");
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(WriteFileAtomically, GivesTheModeOfTheUmask) {
  const std::string path = NewFolder("mode") + "/a.txt";
  const mode_t before = ::umask(027);
  WriteFileAtomically(path, std::string_view("x"));
  ::umask(before);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0640));
}

TEST(WriteFileAtomically, ReadersSeeOnlyWholeFiles) {
  const std::string folder = NewFolder("threads"), path = folder + "/a.txt";
  WriteFileAtomically(path, std::string(1000, 'a'));
  std::vector<std::thread> writers;
  for (char letter : {'b', 'c'}) {
    writers.emplace_back([&path, letter] {
      for (int i = 0; i < 20; ++i) WriteFileAtomically(path, std::string(1000, letter));
    });
  }
  for (int i = 0; i < 100; ++i) {
    const std::string text = ReadTextFile(path);
    EXPECT_EQ(text, std::string(1000, text.at(0)));
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(ReadTextFile, NamesTheCause) {
  const std::string folder = NewFolder("read");
  ExpectError(folder + "/none", "cannot be opened: No such file or directory (hint: check",
              [&] { ReadTextFile(folder + "/none"); });
  ExpectError(folder, "cannot be read: Is a directory", [&] { ReadTextFile(folder); });
  ExpectError("/dev/zero", "more than the 268435456 bytes", [] { ReadTextFile("/dev/zero"); });
}

}  // namespace
}  // namespace bisparse
