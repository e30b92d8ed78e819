// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/regular_file.h"

namespace bisparse {
namespace {

using testing::HasSubstr;

std::string WriteTestFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "mapped_file_test_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

void ExpectRefused(const std::string& path, const std::string& reason) {
  try {
    const MappedFile file(path);
    FAIL() << path << " was mapped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_EQ(error.location(), path);
    EXPECT_THAT(error.what(), HasSubstr(reason));
  }
}

TEST(MappedFile, ShowsTheBytes) {
  const std::string path = WriteTestFile("bytes", std::string("a\0b", 3));
  const MappedFile file(path);
  EXPECT_THAT(file.bytes(), testing::ElementsAre('a', 0, 'b'));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.bytes().data()) % 64, 0u);
}

TEST(MappedFile, SurvivesThatItsNameIsReplaced) {
  const std::string path = WriteTestFile("replaced", "old");
  const MappedFile file(path);
  std::filesystem::rename(WriteTestFile("replacement", "newer"), path);
  EXPECT_THAT(file.bytes(), testing::ElementsAre('o', 'l', 'd'));
}

TEST(MappedFile, RefusesWhatCannotBeMapped) {
  ExpectRefused(testing::TempDir() + "mapped_file_test_missing", "No such file");
  ExpectRefused(WriteTestFile("empty", ""), "is empty, 0 bytes");
  ExpectRefused(testing::TempDir(), "not a regular file");
  ExpectRefused("/dev/null", "not a regular file");
  const std::string pipe = testing::TempDir() + "mapped_file_test_pipe";
  std::filesystem::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ExpectRefused(pipe, "not a regular file but a pipe");  // and not waited for, though nobody writes
}

TEST(RegularFile, ReadsFromTheStart) {
  const std::string path = WriteTestFile("regular", "abcdef");
  const RegularFile file(path);
  EXPECT_EQ(file.size(), 6u);
  std::vector<uint8_t> bytes(4);
  file.Read(bytes);
  file.Read(bytes);
  EXPECT_THAT(bytes, testing::ElementsAre('a', 'b', 'c', 'd'));
}

TEST(RegularFile, SaysThatItShrank) {
  const std::string path = WriteTestFile("shrinks", "abcdef");
  const RegularFile file(path);
  std::filesystem::resize_file(path, 2);
  std::vector<uint8_t> bytes(file.size());
  try {
    file.Read(bytes);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), HasSubstr("has 2 bytes, had 6 when it was opened"));
  }
}

}  // namespace
}  // namespace bisparse
