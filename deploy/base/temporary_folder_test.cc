// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "bisparse/error.h"
#include "deploy/base/file.h"

namespace bisparse {
namespace {

namespace fs = std::filesystem;

/// TMPDIR for as long as the object lives.
class TmpDir {
 public:
  explicit TmpDir(const std::string& folder) {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    ::setenv("TMPDIR", folder.c_str(), 1);
  }
  ~TmpDir() { before_ ? ::setenv("TMPDIR", before_->c_str(), 1) : ::unsetenv("TMPDIR"); }

 private:
  std::optional<std::string> before_;
};

TEST(TemporaryFolder, LivesBelowTmpdirAndGoesWithItsFiles) {
  const std::string parent = testing::TempDir() + "temporary_folder_test";
  fs::remove_all(parent);
  fs::create_directories(parent);
  const TmpDir tmpdir(parent);
  std::string path;
  {
    const TemporaryFolder folder, other;
    path = folder.path();
    EXPECT_NE(path, other.path());
    EXPECT_EQ(fs::path(path).parent_path(), parent);
    WriteFileAtomically(folder / "a", std::string_view("x"));
    EXPECT_EQ(ReadTextFile(path + "/a"), "x");
  }
  EXPECT_TRUE(fs::is_empty(parent));
}

TEST(TemporaryFolder, NamesTheFolderThatIsNone) {
  const std::string parent = testing::TempDir() + "temporary_folder_absent";
  const TmpDir tmpdir(parent);
  try {
    const TemporaryFolder folder;
    FAIL() << folder.path();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(),
                testing::HasSubstr(parent + ": a temporary folder cannot be made there: No such "
                                            "file or directory (hint: set TMPDIR)"));
  }
}

}  // namespace
}  // namespace bisparse
