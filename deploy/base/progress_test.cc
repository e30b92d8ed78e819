// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/progress.h"

#include <gtest/gtest.h>

#include <string>

namespace bisparse {
namespace {

TEST(FormatDuration, IsReadable) {
  EXPECT_EQ(FormatDuration(0.2), "0:00");
  EXPECT_EQ(FormatDuration(59.6), "1:00");
  EXPECT_EQ(FormatDuration(754), "12:34");
  EXPECT_EQ(FormatDuration(3723), "1:02:03");
  EXPECT_EQ(FormatDuration(1e300), "1000:00:00");
}

TEST(FormatProgress, ShowsBarCountTimeAndTimeLeft) {
  EXPECT_EQ(FormatProgress("train", 1200, 2400, 31, "loss 0.21"),
            "train [############------------] 1200/2400  0:31, 0:31 left  loss 0.21");
  EXPECT_EQ(FormatProgress("train", 0, 8, 1, ""), "train [------------------------] 0/8  0:01");
  EXPECT_EQ(FormatProgress("train", 8, 8, 9, ""), "train [########################] 8/8  0:09");
  EXPECT_EQ(FormatProgress("train", 9, 8, 9, ""), "train [########################] 9/8  0:09");
  EXPECT_EQ(FormatProgress("read", 5, 0, 2, ""), "read 5  0:02");
}

TEST(ProgressBar, WritesAFileOnlyRarelyAndItsEnd) {
  std::FILE* const out = std::tmpfile();
  ASSERT_NE(out, nullptr);
  {
    ProgressBar bar("epoch 1", 1000, out);
    for (int i = 1; i <= 1000; ++i) bar.Update(i, "loss 1");
    bar.Finish();
    bar.Finish();
    bar.Update(3);
  }
  std::rewind(out);
  char text[1000];
  const size_t length = std::fread(text, 1, sizeof text, out);
  std::fclose(out);
  EXPECT_EQ(std::string(text, length),
            "epoch 1 [########################] 1000/1000  0:00  loss 1\n");
}

}  // namespace
}  // namespace bisparse
