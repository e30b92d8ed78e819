// SPDX-License-Identifier: Apache-2.0
// Every instruction set can be forced, an unknown one is refused with the list of those that exist.
#include "deploy/simd/cpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bisparse/error.h"

namespace bisparse::kernels {
namespace {

TEST(Cpu, ForcesEveryIsaAndReturnsToTheBest) {
  const std::vector<std::string> isas = AvailableIsas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(IsaName(), isas.front());
  for (const std::string& isa : isas) {
    ForceIsa(isa);
    EXPECT_EQ(IsaName(), isa);
    EXPECT_EQ(AvailableIsas(), isas) << "while " << isa << " is forced";
  }
  ForceIsa("");
  EXPECT_EQ(IsaName(), isas.front());
}

TEST(Cpu, RefusesAnUnknownIsaAndNamesTheKnownOnes) {
  try {
    ForceIsa("AVX9");
    FAIL() << "AVX9 was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(error.what(), testing::HasSubstr("AVX9"));
    EXPECT_THAT(error.what(), testing::HasSubstr(AvailableIsas().back()));
  }
  EXPECT_EQ(IsaName(), AvailableIsas().front());
}

}  // namespace
}  // namespace bisparse::kernels
