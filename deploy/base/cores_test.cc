// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/cores.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <thread>

namespace bisparse {
namespace {

class CoresOfQuotaTest : public testing::Test {
 protected:
  CoresOfQuotaTest() : root_(testing::TempDir() + "/cores_test_" + std::to_string(::getpid())) {}
  ~CoresOfQuotaTest() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_ + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const std::string root_;
};

TEST_F(CoresOfQuotaTest, IsRoundedUp) {
  for (const auto& [text, cores] : {std::pair<const char*, int>{"max 100000\n", INT_MAX},
                                    {"100000 100000\n", 1},
                                    {"100001 100000\n", 2},
                                    {"5000 100000\n", 1},
                                    {"350000 50000\n", 7},
                                    {"0 100000\n", INT_MAX},
                                    {"nonsense\n", INT_MAX},
                                    {"", INT_MAX}}) {
    Write("a/cpu.max", text);
    EXPECT_EQ(CoresOfQuota("0::/a\n", root_), cores) << text;
  }
}

TEST_F(CoresOfQuotaTest, IsTheLeastOfTheGroupAndThoseAbove) {
  Write("slice/unit/cpu.max", "max 100000\n");
  EXPECT_EQ(CoresOfQuota("0::/slice/unit\n", root_), INT_MAX);
  Write("slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(CoresOfQuota("0::/slice/unit\n", root_), 3);
  Write("cpu.max", "200000 100000\n");  // the root's in a container is the container's
  EXPECT_EQ(CoresOfQuota("0::/slice/unit\n", root_), 2);
  EXPECT_EQ(CoresOfQuota("0::/\n", root_), 2);
  EXPECT_EQ(CoresOfQuota("0::/not/mounted/here\n", root_), 2);
}

TEST_F(CoresOfQuotaTest, ReadsVersion1) {
  const std::string membership =
      "12:memory:/docker/1\n5:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n0::/\n";
  Write("cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
  Write("cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CoresOfQuota(membership, root_), INT_MAX);
  Write("cpu,cpuacct/docker/1/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(CoresOfQuota(membership, root_), 2);
  EXPECT_EQ(CoresOfQuota("6:cpuset,cpuacct:/docker/1\n", root_), INT_MAX) << "no group of CPU time";
}

TEST_F(CoresOfQuotaTest, TakesAnyText) {
  for (const char* text : {"", "\n", ":", "::", "0::", "0::relative", "::::/", "0::/\n0::/a//b/"}) {
    EXPECT_EQ(CoresOfQuota(text, root_), INT_MAX) << text;
  }
}

TEST(UsableCores, AreNoMoreThanTheCpusThatAThreadMayRunOn) {
  EXPECT_GE(UsableCores(), 1);
  std::thread([] {  // affinity is a thread's own
    cpu_set_t before, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(UsableCores(), 1);
  })
      .join();
}

}  // namespace
}  // namespace bisparse
