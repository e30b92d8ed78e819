// SPDX-License-Identifier: Apache-2.0
// For tests: every instruction set in turn.
#ifndef BISPARSE_DEPLOY_SIMD_FOR_EACH_ISA_H_
#define BISPARSE_DEPLOY_SIMD_FOR_EACH_ISA_H_

#include <gtest/gtest.h>

#include <string>

#include "deploy/simd/cpu.h"

namespace bisparse::kernels {

/// Calls `check` once for each instruction set of this CPU, then returns to the best.
template <class Check>
void ForEachIsa(const Check& check) {
  for (const std::string& isa : AvailableIsas()) {
    SCOPED_TRACE(isa);
    ForceIsa(isa);
    check();
  }
  ForceIsa("");
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_SIMD_FOR_EACH_ISA_H_
