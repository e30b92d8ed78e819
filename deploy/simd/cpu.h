// SPDX-License-Identifier: Apache-2.0
// Which instruction set the kernels run on. Highway chooses the best one that this CPU has; a user
// may force a lower one to test it or to compare (environment variable BISPARSE_ISA, e.g. AVX2).
// Tested in: cpu_test.cc.
#ifndef BISPARSE_DEPLOY_SIMD_CPU_H_
#define BISPARSE_DEPLOY_SIMD_CPU_H_

#include <string>
#include <string_view>
#include <vector>

namespace bisparse::kernels {

/// Instruction sets that this build has kernels for and this CPU can run, best first, e.g. {"AVX3",
/// "AVX2", "SSE4"}.
std::vector<std::string> AvailableIsas();

/// Runs every kernel on `name` from now on; "" returns to the best. Not for use while kernels run.
/// Throws Error (kConfiguration) for a name that is not in AvailableIsas().
void ForceIsa(const std::string& name);

/// ForceIsa of the environment variable BISPARSE_ISA, the first time that it is called; an engine
/// calls it at load. Throws like ForceIsa, again at every later call while the first one failed.
void ApplyIsaFromEnvironment();

/// The instruction set in use, e.g. "AVX3".
std::string IsaName();

/// Of an instruction set by its name: vectors of 512 bits; those with dot products of bytes and permutations of bytes too
/// (AVX3_DL and better).
bool IsAvx3(std::string_view isa);
bool IsAvx3Dl(std::string_view isa);

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_SIMD_CPU_H_
