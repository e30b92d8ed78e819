// SPDX-License-Identifier: Apache-2.0
#include "data/compose/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bisparse/error.h"
#include "deploy/base/file.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Labels : public testing::Test {
 protected:
  std::vector<Label> Read(const std::string& text) const {
    WriteFileAtomically(folder_ / "a.txt", text);
    return ReadLabels(folder_ / "a.txt");
  }
  void ExpectError(const std::string& text, const std::string& message) const {
    try {
      Read(text);
      ADD_FAILURE() << "no error: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
  const TemporaryFolder folder_;
};

TEST_F(Labels, LieBesideTheRecording) {
  EXPECT_EQ(LabelsPathOf("a/talk.wav"), "a/talk.txt");
  EXPECT_EQ(LabelsPathOf("a.b/talk"), "a.b/talk.txt");
}

TEST_F(Labels, WhatIsWrittenIsRead) {
  const std::vector<Label> labels = {{0.0000626, 0.5, "go"}, {1, 1, "_other_ two words"}};
  EXPECT_EQ(LabelsText(labels), "0.000063\t0.500000\tgo\n1.000000\t1.000000\t_other_ two words\n");
  EXPECT_THAT(Read(LabelsText(labels)),
              ElementsAre(Label{0.000063, 0.5, "go"}, Label{1, 1, "_other_ two words"}));
  EXPECT_THAT(Read(""), IsEmpty());
}

TEST_F(Labels, AreReadAsOthersWriteThem) {
  EXPECT_THAT(Read("\xef\xbb\xbf"
                   "2,5\t3\tgo \r\n\\\t100\t200\r\n\r\n1\t1.5\thow are\tyou"),
              ElementsAre(Label{1, 1.5, "how are\tyou"}, Label{2.5, 3, "go"}));
}

TEST_F(Labels, FaultsNameTheLine) {
  ExpectError("1\t2\tgo\nnan\t2\tgo\n", "a.txt:2: 'nan' is no time from 0 to 10000000 seconds");
  ExpectError("-1\t2\tgo\n", "a.txt:1: '-1' is no time");
  ExpectError("1e9\t2e9\tgo\n", "is no time");
  ExpectError("inf\tinf\tgo\n", "is no time");
  ExpectError("\t2\tgo\n", "'' is no time");
  ExpectError("2\t1\tgo\n", "ends at 1 s, before it begins at 2 s");
  ExpectError("1\t2\n", "'1\\x092' is no label (hint: ");
  ExpectError("1\t2\t \n", "is no label");
  ExpectError("1 2 go\n", "is no label");
  ExpectError(std::string("1\0\t2", 4), "is UTF-16 or no text at all");
}

}  // namespace
}  // namespace bisparse::data
