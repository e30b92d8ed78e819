// SPDX-License-Identifier: Apache-2.0
// How many threads of this process can run at once: the CPUs that it may run on (taskset, cpuset), and no more than its
// control group's quota of CPU time pays for (containers: docker run --cpus, Kubernetes limits).
// Tested in: cores_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_CORES_H_
#define BISPARSE_DEPLOY_BASE_CORES_H_

#include <string>

namespace bisparse {

/// At least 1.
int UsableCores();

/// CPUs' worth of time, rounded up, that the quotas of a process's control group and of the groups above it leave;
/// INT_MAX where none is set. `membership`: the text of /proc/self/cgroup. `root`: the folder where control groups are
/// mounted, /sys/fs/cgroup.
int CoresOfQuota(const std::string& membership, const std::string& root);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_CORES_H_
