// SPDX-License-Identifier: Apache-2.0
// Read first: cores.h. Source: Linux's Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
// scheduler/sched-bwc.rst (cpu.cfs_quota_us).
#include "deploy/base/cores.h"

#include <sched.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

namespace bisparse {
namespace {

/// The file's first two words as numbers; false where there is no such file, or a word is none ("max").
bool ReadNumbers(const std::string& path, double& first, double* second = nullptr) {
  std::ifstream file(path);
  return static_cast<bool>(file >> first) &&
         (second == nullptr || static_cast<bool>(file >> *second));
}

int Cores(double quota_us, double period_us) {
  if (!(quota_us > 0) || !(period_us > 0)) return INT_MAX;  // version 1 says -1 for no quota
  return static_cast<int>(std::clamp(std::ceil(quota_us / period_us), 1.0, double{INT_MAX}));
}

/// The least that a group of `hierarchy` allows, from `group` up to the root.
int LeastUpwards(const std::string& hierarchy, std::string group) {
  int least = INT_MAX;
  for (;;) {
    const std::string folder = hierarchy + group + "/";
    double quota = 0, period = 0;
    if (ReadNumbers(folder + "cpu.max", quota, &period) ||
        (ReadNumbers(folder + "cpu.cfs_quota_us", quota) &&
         ReadNumbers(folder + "cpu.cfs_period_us", period))) {
      least = std::min(least, Cores(quota, period));
    }
    if (group.empty()) return least;
    group.resize(group.find_last_of('/'));
  }
}

}  // namespace

int CoresOfQuota(const std::string& membership, const std::string& root) {
  int least = INT_MAX;
  std::istringstream lines(membership);
  // hierarchy:controllers:/group, for version 2 "0::/group"
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group.empty() || group[0] != '/') continue;
    if (group == "/") group.clear();
    const bool counts_cpu = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (controllers.empty()) {
      least = std::min(least, LeastUpwards(root, group));
      least = std::min(least, LeastUpwards(root + "/unified", group));
    } else if (counts_cpu) {
      least = std::min(least, LeastUpwards(root + "/" + controllers, group));
      least = std::min(least, LeastUpwards(root + "/cpu", group));
    }
  }
  return least;
}

int UsableCores() {
  int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // The kernel refuses a mask that is smaller than its own, whose size is not told.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const bool known = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set) == 0;
    if (known) cores = CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set);
    CPU_FREE(set);
    if (known) break;
  }
  std::ifstream file("/proc/self/cgroup");
  std::stringstream membership;
  if (file) membership << file.rdbuf();
  return std::max(1, std::min(cores, CoresOfQuota(membership.str(), "/sys/fs/cgroup")));
}

}  // namespace bisparse
