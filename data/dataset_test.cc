// SPDX-License-Identifier: Apache-2.0
// Tests the checks of a data set's configuration.
#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bisparse/error.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

DatasetConfig Good() {
  DatasetConfig config;
  config.speech_commands.root = "somewhere";
  config.speech_commands.words = {"yes", "no"};
  return config;
}

TEST(ConfigFaults, DefaultsAreFaultless) { EXPECT_THAT(ConfigFaults(Good()), ElementsAre()); }

TEST(ConfigFaults, ListsThemAll) {
  DatasetConfig config = Good();
  config.speech_commands.words = {"yes", "yes", "_no_"};
  config.speech_commands.unknown = {ExtraAmount::kFraction, -1.0};
  config.augment.speed_min = 1.5;
  config.augment.background_probability = 2.0;
  EXPECT_THAT(ConfigFaults(config),
              ElementsAre("data.words lists 'yes' twice",
                          HasSubstr("data.words lists '_no_', which is not"),
                          "data.unknown = -1 is not in (0, 10]",
                          "data.augment.speed_min = 1.5 exceeds speed_max = 1.1",
                          "data.augment.background_probability = 2 is not in [0, 1]"));
}

TEST(ConfigFaults, ChecksNpy) {
  DatasetConfig config;
  config.kind = DatasetKind::kNpy;
  EXPECT_THAT(PathFaults(config), ElementsAre(HasSubstr("no samples are given")));
  config.npy.train_x = "x.npy";
  config.npy.scale = 0.0;
  EXPECT_THAT(ConfigFaults(config),
              ElementsAre("data.train_x is given without train_y", HasSubstr("data.scale = 0")));
}

TEST(OpenDataset, RefusesFaults) {
  DatasetConfig config = Good();
  config.augment.gain_db = -3.0;
  try {
    OpenDataset(config, FrontEnd{}, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    EXPECT_STREQ(error.what(), "data.augment.gain_db = -3 is not in [0, 60]");
  }
}

TEST(OpenDataset, NamesAFolderThatIsMissing) {
  try {
    OpenDataset(Good(), FrontEnd{}, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), HasSubstr("somewhere: not a folder"));
  }
}

}  // namespace
}  // namespace bisparse::data
