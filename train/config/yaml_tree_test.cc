// SPDX-License-Identifier: Apache-2.0
#include "train/config/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "bisparse/error.h"

namespace bisparse::train {
namespace {

// The message of all faults, or "" without any.
std::string Message(const Faults& faults) {
  try {
    faults.ThrowIfAny();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string ParseFault(const std::string& text) {
  Faults faults("c.yaml", {});
  ParseYaml(text, faults);
  return Message(faults);
}

TEST(YamlTree, KeepsOrderMarksAndDoubles) {
  Faults faults("c.yaml", {});
  const YamlNode root = ParseYaml("b: 010\na: 'no'\nb: [x, {y: 2}]\n", faults);
  EXPECT_EQ(Message(faults), "");
  EXPECT_THAT(root.keys, testing::ElementsAre("b", "a", "b"));
  EXPECT_EQ(root.items[0].text, "010");
  EXPECT_FALSE(root.items[0].quoted);
  EXPECT_TRUE(root.items[1].quoted);
  EXPECT_EQ(root.key_marks[2], (Mark{3, 1}));
  EXPECT_EQ(root.items[2].items[1].Find("y")->mark, (Mark{3, 12}));
}

TEST(YamlTree, AliasesAreCopies) {
  Faults faults("c.yaml", {});
  const YamlNode root = ParseYaml("a: &x {k: 1}\nb: *x\n", faults);
  EXPECT_EQ(Message(faults), "");
  EXPECT_EQ(root.Find("b")->Find("k")->text, "1");
}

TEST(YamlTree, AliasBombIsRefused) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j ? ", *a" : "*a") + std::to_string(i - 1);
    text += "]\n";
  }
  EXPECT_THAT(ParseFault(text), testing::HasSubstr("more than 20000 values"));
}

TEST(YamlTree, LimitsAndSyntaxAreFaults) {
  EXPECT_THAT(ParseFault(std::string(33, '[') + std::string(33, ']')),
              testing::HasSubstr("nested more than 32 deep"));
  EXPECT_EQ(ParseFault(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_THAT(ParseFault(std::string(100000, '[')), testing::HasSubstr("deep"));
  EXPECT_THAT(ParseFault("a: 1\n---\nb: 2\n"), testing::HasSubstr("more than one YAML document"));
  EXPECT_THAT(ParseFault("a: !!int 3\n"), testing::HasSubstr("c.yaml:1:4: tag"));
  EXPECT_THAT(ParseFault("? [a]\n: b\n"), testing::HasSubstr("a key is a plain word"));
  EXPECT_THAT(ParseFault("a: [1, 2\nb: 3\n"), testing::HasSubstr("not YAML"));
  EXPECT_THAT(ParseFault("a: &a [*a]\n"), testing::HasSubstr("alias within its own anchor"));
  EXPECT_THAT(ParseFault(std::string(kMaxYamlBytes + 1, ' ')), testing::HasSubstr("exceed"));
}

TEST(YamlTree, BytesThatAreNotUtf8AreNamed) {
  EXPECT_EQ(ParseFault("a: 1\nname: b\xFCro\n"),
            "c.yaml:2:8: byte 0xfc is not UTF-8 (hint: save the file as UTF-8)");
  EXPECT_EQ(ParseFault("\xFF\xFE"
                       "a"),
            "c.yaml:1:1: byte 0xff is not UTF-8 (hint: save the file as UTF-8)");
  EXPECT_EQ(ParseFault("# gr\xFC"
                       "n\n"),
            "c.yaml:1:5: byte 0xfc is not UTF-8 (hint: save the file as UTF-8)");
  EXPECT_EQ(ParseFault("name: büro\n"), "");
}

TEST(YamlTree, ControlCharactersAreNamed) {
  using namespace std::string_literals;
  const std::string hint = " is a control character (hint: remove it, or write ";
  EXPECT_EQ(ParseFault("a: 1\nb: [x\0y]\n"s),
            "c.yaml:2:6: byte 0x00" + hint + "\"\\x00\", in double quotes)");
  EXPECT_EQ(ParseFault("a: 1\n\0\0"s).substr(0, 34), "c.yaml:2:1: byte 0x00 is a control");
  EXPECT_THAT(ParseFault("# \x1b[2J\na: 1\n"), testing::HasSubstr("c.yaml:1:3: byte 0x1b" + hint));
  EXPECT_THAT(ParseFault("a: 1\rb: 2\r"),
              testing::HasSubstr("c.yaml:1:5: byte 0x0d is a carriage return without a line feed"));
  for (const char* good : {"a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r", "a:\t1 # \xc3\xa9\n", ""}) {
    EXPECT_EQ(ParseFault(good), "") << good;
  }
}

TEST(YamlTree, WhatALineLacksIsSaidWithItsPlace) {
  // A tab.
  EXPECT_EQ(ParseFault("train:\n\tepochs: 3\n"),
            "c.yaml:2:1: a tab indents this line (hint: YAML takes spaces alone)");
  EXPECT_EQ(ParseFault("seed: 1\ntrain:\n  epochs: 3\n \tbatch_size: 8\n"),
            "c.yaml:4:2: a tab indents this line (hint: YAML takes spaces alone)");
  // A space after the colon.
  EXPECT_EQ(ParseFault("train:\n  epochs:3\n  batch_size: 8\n"),
            "c.yaml:2:3: not YAML (hint: a space after the colon, `epochs: 3`)");
  EXPECT_EQ(ParseFault("seed: 1\nname:x # why\ndata: {}\n"),
            "c.yaml:2:1: not YAML (hint: a space after the colon, `name: x`)");
  // The colon.
  EXPECT_EQ(ParseFault("train:\n  epochs 3\n  batch_size: 8\n"),
            "c.yaml:2:3: not YAML (hint: a colon after `epochs`)");
  EXPECT_EQ(ParseFault("train:\n  batch_size: 8\n  epochs 3\n  seed: 1\n"),
            "c.yaml:3:3: not YAML (hint: a colon after `epochs`)");
  EXPECT_EQ(ParseFault("seed 1\n\nname: x\n"), "c.yaml:1:1: not YAML (hint: a colon after `seed`)");
  // A tab elsewhere is no fault.
  EXPECT_EQ(ParseFault("seed:\t1\n"), "");
}

TEST(YamlTree, OverridesSetAndCreate) {
  Faults faults("", {"train.epochs=3", "net.0.k=[5, 3]", "train.x.y=no"});
  YamlNode root = ParseYaml("train: {epochs: 9}\nnet: [{k: 1}]\n", faults);
  ApplyOverride(root, "train.epochs=3", 1, faults);
  ApplyOverride(root, "net.0.k=[5, 3]", 2, faults);
  ApplyOverride(root, "train.x.y=no", 3, faults);
  EXPECT_EQ(Message(faults), "");
  EXPECT_EQ(root.Find("train")->Find("epochs")->text, "3");
  EXPECT_EQ(root.Find("train")->Find("epochs")->mark, (Mark{0, 1}));
  EXPECT_EQ(root.Find("net")->items[0].Find("k")->items[1].text, "3");
  EXPECT_EQ(root.Find("train")->Find("x")->Find("y")->text, "no");
  ApplyOverride(root, "net.7.k=1", 2, faults);
  EXPECT_THAT(Message(faults), testing::HasSubstr("'7' is not an index of a list of 1"));
}

}  // namespace
}  // namespace bisparse::train
