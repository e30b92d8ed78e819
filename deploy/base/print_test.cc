// SPDX-License-Identifier: Apache-2.0
// Results that cannot be written: tests/programs, since stdout is the whole process's.
#include "deploy/base/print.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace bisparse {
namespace {

TEST(PrintRemark, ShowsForeignTextWithEscapes) {
  std::FILE* const out = std::tmpfile();
  ASSERT_NE(out, nullptr);
  PrintRemark(out, "skipped {}\n\t{}\n", "a\x1b[2J", 3);
  std::rewind(out);
  char text[100];
  const size_t length = std::fread(text, 1, sizeof text, out);
  std::fclose(out);
  EXPECT_EQ(std::string(text, length), "skipped a\\x1b[2J\n\t3\n");
}

TEST(PrintRemark, GoesOnWhereNothingCanBeWritten) {
  std::FILE* const read_only = std::fopen("/dev/null", "r");
  ASSERT_NE(read_only, nullptr);
  EXPECT_NO_THROW(PrintRemark(read_only, "{}\n", 1));
  ::close(::fileno(read_only));
  EXPECT_NO_THROW(PrintRemark(read_only, "{}\n", 1));
  std::fclose(read_only);
  std::FILE* const full = std::fopen("/dev/full", "w");
  if (full == nullptr) GTEST_SKIP() << "no /dev/full";
  EXPECT_NO_THROW(PrintRemark(full, "{}\n", std::string(100'000, 'x')));
  std::fclose(full);
}

}  // namespace
}  // namespace bisparse
