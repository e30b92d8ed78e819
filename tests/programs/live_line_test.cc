// SPDX-License-Identifier: Apache-2.0
// The line of what is heard now, as text. On a terminal: listen_test.cc.
#include "apps/support/live_line.h"

#include <gtest/gtest.h>

#include "deploy/base/utf8.h"

namespace bisparse::apps {
namespace {

TEST(RenderLiveLine, ShowsLevelWordAndProbability) {
  EXPECT_EQ(RenderLiveLine(-24, "yes", 0.874, 80), "[############--------]  -24 dB  yes 87 %");
  EXPECT_EQ(RenderLiveLine(0, "no", 1, 80), "[####################]    0 dB  no 100 %");
  EXPECT_EQ(RenderLiveLine(-60, "no", 0, 80), "[--------------------]  -60 dB  no 0 %");
  EXPECT_EQ(RenderLiveLine(-1e9, "no", 0, 80), "[--------------------] -200 dB  no 0 %");
  EXPECT_EQ(RenderLiveLine(6, "no", 0, 80), "[####################]    6 dB  no 0 %");
}

TEST(RenderLiveLine, FitsItsWidth) {
  const std::string whole = RenderLiveLine(-30, "marvellous", 0.5, 80);
  ASSERT_EQ(whole.size(), 47u);
  EXPECT_EQ(RenderLiveLine(-30, "marvellous", 0.5, 47), whole);
  EXPECT_EQ(RenderLiveLine(-30, "marvellous", 0.5, 46),
            "[##########----------]  -30 dB  marvello~ 50 %");
  EXPECT_EQ(RenderLiveLine(-30, "marvellous", 0.5, 10), "[#########");
  EXPECT_EQ(RenderLiveLine(-30, "marvellous", 0.5, 0), "");
  EXPECT_EQ(RenderLiveLine(-30, "marvellous", 0.5, -1), "");
}

TEST(RenderLiveLine, CutsNoCharacterAndShowsNoControl) {
  for (int width = 0; width < 60; ++width) {
    const std::string line =
        RenderLiveLine(-30, "h\xC3\xB6ren \xE8\x81\x9E\xE3\x81\x8F", 0.5, width);
    EXPECT_EQ(FirstNotUtf8(line), line.size()) << width;
    EXPECT_LE(line.size(), static_cast<size_t>(width) + 2) << line;  // 3 bytes take 2 columns here
  }
  EXPECT_NE(RenderLiveLine(-30, "a\x1b[2Jb", 0.5, 80).find("a\\x1b[2Jb"), std::string::npos);
}

}  // namespace
}  // namespace bisparse::apps
