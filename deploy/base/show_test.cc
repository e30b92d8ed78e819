// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/show.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "deploy/base/check.h"

namespace bisparse {
namespace {

TEST(Shown, LeavesTextThatIsHarmless) {
  for (const char* text : {"", "yes", "a b\\c'd\"<&>",
                           "gr\xc3\xb6\xc3\x9f"
                           "er",
                           "\xe2\x82\xac", "\xf0\x9f\x8e\xa4", "\xc2\xa0", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(Shown(text), text);
    EXPECT_EQ(ShownLines(text), text);
  }
}

TEST(Shown, EscapesWhatControlsATerminal) {
  EXPECT_EQ(Shown("\x1b[2J\x07\x7f"), "\\x1b[2J\\x07\\u007f");
  EXPECT_EQ(Shown(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Shown("a\r\n\tb"), "a\\x0d\\x0a\\x09b");
  EXPECT_EQ(ShownLines("a\r\n\tb\x1b"), "a\\x0d\n\tb\\x1b");
  EXPECT_EQ(Shown("\xc2\x9b"
                  "31m"),
            "\\u009b31m");
  EXPECT_EQ(Shown("\xe2\x80\xae"), "\\u202e");
  EXPECT_EQ(Shown("\xe2\x80\xa8\xe2\x81\xa9"), "\\u2028\\u2069");
}

TEST(Shown, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(Shown("b\xfcro"), "b\\xfcro");     // Latin-1
  EXPECT_EQ(Shown("\x80\xbf"), "\\x80\\xbf");  // no first byte
  EXPECT_EQ(Shown("\xc3"), "\\xc3");           // cut
  EXPECT_EQ(Shown("\xe2\x82z"), "\\xe2\\x82z");
  EXPECT_EQ(Shown("\xc0\xaf\xe0\x80\xaf"), "\\xc0\\xaf\\xe0\\x80\\xaf");  // longer than needed
  EXPECT_EQ(Shown("\xed\xa0\x80"), "\\xed\\xa0\\x80");                    // surrogate
  EXPECT_EQ(Shown("\xf4\x90\x80\x80\xff"), "\\xf4\\x90\\x80\\x80\\xff");
}

TEST(Shown, TwiceIsOnce) {
  const std::string once = Shown("\x1b\xff\xc2\x9b");
  EXPECT_EQ(Shown(once), once);
}

TEST(NulShown, MessagesDoNotEndAtANul) {
  EXPECT_EQ(NulShown("a\x1b"), "a\x1b");
  EXPECT_EQ(NulShown(std::string("\0a\0", 3)), "\\x00a\\x00");
  try {
    Fail(ErrorKind::kData, std::string("a\0b", 3), "{} is wrong", std::string("c\0d", 3));
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a\\x00b: c\\x00d is wrong");
  }
}

TEST(ShellQuoted, QuotesOnlyWhereNeeded) {
  EXPECT_EQ(ShellQuoted("runs/gsc_aligned-1.x"), "runs/gsc_aligned-1.x");
  EXPECT_EQ(ShellQuoted(""), "''");
  EXPECT_EQ(ShellQuoted("my runs"), "'my runs'");
  EXPECT_EQ(ShellQuoted("-o"), "./-o");
  EXPECT_EQ(ShellQuoted("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellQuoted("a\nb'\\"), "$'a\\x0ab\\'\\\\'");
}

// What a shell makes of it is what was meant.
TEST(ShellQuoted, IsReadBackByAShell) {
  if (std::system("bash -c : >/dev/null 2>&1") != 0) GTEST_SKIP() << "no bash";
  const std::string out = testing::TempDir() + "show_test_words", script = out + ".sh";
  for (const std::string text : {"a b", "$HOME `id` $(id)", "it's \"x\"; rm *", "~", "#a", "a\\b",
                                 "a\tb\n\xff\x1b'c", "\xc3\xbc|&<>", "!x?[a]{b}",
                                 "\x01"
                                 "2f"}) {
    std::ofstream(script, std::ios::binary)
        << "printf %s " << ShellQuoted(text) << " > '" << out << "'\n";
    ASSERT_EQ(std::system(("bash '" + script + "'").c_str()), 0) << text;
    std::ostringstream read;
    read << std::ifstream(out, std::ios::binary).rdbuf();
    EXPECT_EQ(read.str(), text);
  }
}

}  // namespace
}  // namespace bisparse
