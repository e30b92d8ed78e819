// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

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

TEST(WriteFileAtomically, FollowsLinks) {
  const std::string folder = NewFolder("links");
  fs::create_directory(folder + "/there");
  WriteFileAtomically(folder + "/there/old", std::string_view("old"));
  fs::create_symlink("there/old", folder + "/link");
  fs::create_symlink(folder + "/link", folder + "/second");
  fs::create_symlink("there/new", folder + "/dangling");
  fs::create_symlink("loop", folder + "/loop");
  WriteFileAtomically(folder + "/second", std::string_view("new"));
  EXPECT_EQ(ReadTextFile(folder + "/there/old"), "new");
  WriteFileAtomically(folder + "/dangling", std::string_view("made"));
  EXPECT_EQ(ReadTextFile(folder + "/there/new"), "made");
  for (const char* link : {"/link", "/second", "/dangling"})
    EXPECT_TRUE(fs::is_symlink(folder + link)) << link;
  EXPECT_EQ(FilesIn(folder + "/there"), 2);
  ExpectError(folder + "/loop", "Too many levels of symbolic links",
              [&] { WriteFileAtomically(folder + "/loop", std::string_view("x")); });
  fs::create_symlink("there", folder + "/folder");
  ExpectError(folder + "/folder", "Is a directory",
              [&] { WriteFileAtomically(folder + "/folder", std::string_view()); });
}

TEST(WriteFileAtomically, KeepsModeAndOwnerOfWhatItReplaces) {
  const std::string folder = NewFolder("keeps"), path = folder + "/a.txt";
  for (const int mode : {0600, 0640, 0664, 0755}) {
    WriteFileAtomically(path, std::string_view("old"));
    ASSERT_EQ(::chmod(path.c_str(), static_cast<mode_t>(mode)), 0);
    WriteFileAtomically(path, std::string_view("new"));
    EXPECT_EQ(fs::status(path).permissions(), fs::perms(mode));
  }
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give a file away";
  ASSERT_EQ(::chown(path.c_str(), 65534, 65533), 0);
  WriteFileAtomically(path, std::string_view("newer"));
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 65534u);
  EXPECT_EQ(status.st_gid, 65533u);
}

TEST(WriteFileAtomically, RefusesAFileThatMayNotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write every file";
  const std::string folder = NewFolder("protected"), path = folder + "/a.txt";
  WriteFileAtomically(path, std::string_view("old"));
  ASSERT_EQ(::chmod(path.c_str(), 0444), 0);
  ExpectError(path, "cannot be written: Permission denied (hint: ", [&] {
    WriteFileAtomically(path, std::string_view("new"));
  });
  EXPECT_EQ(ReadTextFile(path), "old");
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(WriteFileAtomically, LeavesOtherHardLinksTheOldContent) {
  const std::string folder = NewFolder("hard"), path = folder + "/a.txt";
  WriteFileAtomically(path, std::string_view("old"));
  fs::create_hard_link(path, folder + "/other");
  WriteFileAtomically(path, std::string_view("new"));
  EXPECT_EQ(ReadTextFile(path), "new");
  EXPECT_EQ(ReadTextFile(folder + "/other"), "old");
}

TEST(WriteFileAtomically, WritesIntoPipes) {
  const std::string folder = NewFolder("pipe"), path = folder + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  fs::create_symlink("pipe", folder + "/link");
  std::string read;
  std::thread reader([&] { read = ReadTextStream(path); });
  const std::string text(300'000, 'p');
  WriteFileAtomically(folder + "/link", text);
  reader.join();
  EXPECT_EQ(read, text);
  EXPECT_TRUE(fs::is_fifo(path));
  EXPECT_EQ(FilesIn(folder), 2);
}

// A private copy of /dev/null: a mistake would replace the machine's own.
TEST(WriteFileAtomically, WritesIntoDevices) {
  const std::string folder = NewFolder("device"), path = folder + "/null";
  if (::mknod(path.c_str(), S_IFCHR | 0600, ::makedev(1, 3)) != 0)
    GTEST_SKIP() << "no right to make devices";
  try {
    WriteFileAtomically(path, std::string_view("x"));
  } catch (const Error& error) {  // a container's file system without devices
    EXPECT_THAT(error.what(), HasSubstr("Permission denied"));
  }
  EXPECT_TRUE(fs::is_character_file(path));
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(WriteFileAtomically, WritesIntoOpenDescriptorsWhereTheyStand) {
  const std::string folder = NewFolder("descriptor"), path = folder + "/a.txt";
  if (!fs::exists("/proc/self/fd")) GTEST_SKIP() << "no procfs";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::write(file, "1 ", 2), 2);
  fs::create_symlink(fmt::format("/proc/self/fd/{}", file), folder + "/link");
  WriteFileAtomically(folder + "/link", std::string_view("2 "));
  WriteFileAtomically(fmt::format("/proc/thread-self/fd/{}", file), std::string_view("3 "));
  ASSERT_EQ(::write(file, "4", 1), 1);
  EXPECT_EQ(ReadTextFile(path), "1 2 3 4");
  ::close(file);
  EXPECT_EQ(FilesIn(folder), 2);
  ExpectError(folder + "/link", "No such file",
              [&] { WriteFileAtomically(folder + "/link", std::string_view("x")); });
}

TEST(WriteFileAtomically, TakesTheLongestNames) {
  const std::string folder = NewFolder("long"), path = folder + "/" + std::string(250, 'x');
  WriteFileAtomically(path, std::string_view("a"));
  EXPECT_EQ(ReadTextFile(path), "a");
  EXPECT_EQ(FilesIn(folder), 1);
  ExpectError(path + "123456",
              "cannot be created: File name too long (hint: choose a shorter name)",
              [&] { WriteFileAtomically(path + "123456", std::string_view("x")); });
}

TEST(WriteFileAtomically, RefusesPathsThatTheSystemWouldCut) {
  const std::string folder = NewFolder("nul"), path = folder + std::string("/a\0b", 4);
  ExpectError(folder + "/a\\x00b", "holds a NUL byte",
              [&] { WriteFileAtomically(path, std::string_view("x")); });
  ExpectError(folder + "/a\\x00b", "holds a NUL byte", [&] { ReadTextFile(path); });
  ExpectError(folder + "/a/", "cannot be created: Is a directory",
              [&] { WriteFileAtomically(folder + "/a/", std::string_view("x")); });
  EXPECT_EQ(FilesIn(folder), 0);
}

TEST(RequireWritable, KnowsBeforehand) {
  const std::string folder = NewFolder("before");
  WriteFileAtomically(folder + "/file", std::string_view("old"));
  fs::create_symlink("new", folder + "/dangling");
  fs::create_symlink("no/new", folder + "/nowhere");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  for (const char* good : {"/file", "/new", "/dangling", "/pipe"})
    EXPECT_NO_THROW(RequireWritable(folder + good)) << good;
  EXPECT_NO_THROW(RequireWritable("/proc/self/fd/1"));
  const auto refused = [&](const std::string& name, const std::string& part) {
    ExpectError(folder + name, part, [&] { RequireWritable(folder + name); });
  };
  refused("/no/new", "cannot be created: No such file or directory (hint: ");
  refused("/nowhere", "cannot be created: No such file or directory (hint: ");
  refused("/file/new", "cannot be created: Not a directory (hint: ");
  refused("", "Is a directory");
  EXPECT_EQ(ReadTextFile(folder + "/file"), "old");
  EXPECT_EQ(FilesIn(folder), 4);
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  ASSERT_EQ(::chmod(folder.c_str(), 0500), 0);
  refused("/new", "cannot be created: Permission denied (hint: ");
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
}

TEST(ReadTextFile, NamesTheCause) {
  const std::string folder = NewFolder("read");
  ExpectError(folder + "/none", "cannot be opened: No such file or directory (hint: check",
              [&] { ReadTextFile(folder + "/none"); });
  ExpectError(folder, "is not a regular file but a folder (hint: ", [&] { ReadTextFile(folder); });
  ExpectError(folder, "cannot be read: Is a directory", [&] { ReadTextStream(folder); });
  ExpectError("/dev/zero", "more than the 268435456 bytes", [] { ReadTextStream("/dev/zero"); });
}

// Nobody ever writes to this pipe: a test that waits for it fails by its time limit.
TEST(ReadTextFile, RefusesPipesAndDevicesWithoutWaiting) {
  const std::string path = NewFolder("fifo") + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  ExpectError(path, "is not a regular file but a pipe", [&] { ReadTextFile(path); });
  ExpectError("/dev/zero", "is not a regular file but a device", [] { ReadTextFile("/dev/zero"); });
}

}  // namespace
}  // namespace bisparse
