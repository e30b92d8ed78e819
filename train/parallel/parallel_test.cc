// SPDX-License-Identifier: Apache-2.0
// Where a process finds its place; batch norm over a group of threads is not possible (one process
// is one rank), so the joint one is tested in tests/data_parallel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "bisparse/error.h"
#include "train/parallel/process_group.h"

namespace bisparse::train {
namespace {

using testing::HasSubstr;
using Environment = std::map<std::string, std::string>;

std::optional<ProcessPlace> Place(const Environment& variables) {
  return PlaceFromEnvironment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string Fault(const Environment& variables) {
  try {
    Place(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    return error.what();
  }
  return "no error";
}

TEST(ProcessPlace, OneProcessHasNone) {
  EXPECT_FALSE(Place({}));
  EXPECT_FALSE(Place({{"WORLD_SIZE", "1"}}));
  EXPECT_FALSE(Place({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}));  // a batch script alone
}

TEST(ProcessPlace, IsReadAsEachStarterWritesIt) {
  const Environment meeting = {{"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
  for (Environment variables :
       {Environment{{"RANK", "2"}, {"WORLD_SIZE", "4"}},
        Environment{{"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "4"}},
        Environment{{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}}) {
    variables.insert(meeting.begin(), meeting.end());
    const auto place = Place(variables);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->rank, 2);
    EXPECT_EQ(place->size, 4);
    EXPECT_EQ(place->address, "node1");
    EXPECT_EQ(place->port, 29500);
  }
}

TEST(ProcessPlace, FaultsNameTheVariable) {
  EXPECT_THAT(Fault({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}),
              HasSubstr("WORLD_SIZE = 2, but MASTER_PORT is not set"));
  EXPECT_THAT(Fault({{"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}),
              HasSubstr("RANK is not set"));
  const Environment good = {
      {"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}};
  for (const auto& [name, value] :
       {std::pair{"RANK", "2"}, {"RANK", "x"}, {"WORLD_SIZE", "-1"}, {"MASTER_PORT", "70000"}}) {
    Environment bad = good;
    bad[name] = value;
    EXPECT_THAT(Fault(bad), HasSubstr(std::string(name) + " = '" + value + "'"));
  }
}

}  // namespace
}  // namespace bisparse::train
