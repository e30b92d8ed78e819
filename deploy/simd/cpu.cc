// SPDX-License-Identifier: Apache-2.0
// Read first: cpu.h. Tested in: cpu_test.cc.
#include "deploy/simd/cpu.h"

#include <cstdlib>
#include <mutex>

#include "deploy/base/check.h"
#include "hwy/highway.h"

namespace bisparse::kernels {
namespace {

/// Targets with kernels in this build that the CPU has, whatever is forced now.
int64_t AllTargets(int64_t* forced) {
  *forced = hwy::SupportedTargets();
  hwy::SetSupportedTargetsForTest(0);
  const int64_t all = hwy::SupportedTargets() & HWY_TARGETS;
  hwy::SetSupportedTargetsForTest(*forced);
  return all;
}

}  // namespace

std::vector<std::string> AvailableIsas() {
  int64_t forced = 0;
  std::vector<std::string> names;
  for (int64_t left = AllTargets(&forced); left != 0; left &= left - 1) {
    names.emplace_back(hwy::TargetName(left & -left));
  }
  return names;
}

void ForceIsa(const std::string& name) {
  int64_t forced = 0;
  const int64_t all = AllTargets(&forced);
  int64_t chosen = name.empty() ? all : 0;
  std::string known;
  for (int64_t left = all; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    const std::string target_name = hwy::TargetName(target);
    known += (known.empty() ? "" : ", ") + target_name;
    if (target_name == name) chosen = target;
  }
  if (chosen == 0) {
    Fail(ErrorKind::kConfiguration, "BISPARSE_ISA",
         "instruction set \"{}\" is not one that this CPU runs (it runs {})", name, known);
  }
  // A lower bit is a better target. The worse ones stay: not every kernel is built for every target.
  hwy::SetSupportedTargetsForTest(name.empty() ? 0 : all & ~(chosen - 1));
  // Without this the functions chosen before stay in use.
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void ApplyIsaFromEnvironment() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* name = std::getenv("BISPARSE_ISA");
    if (name != nullptr && *name != '\0') ForceIsa(name);
  });
}

std::string IsaName() {
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(targets & -targets);
}

bool IsAvx3(std::string_view isa) { return isa.starts_with("AVX3"); }
bool IsAvx3Dl(std::string_view isa) { return IsAvx3(isa) && isa != "AVX3"; }

}  // namespace bisparse::kernels
