// SPDX-License-Identifier: Apache-2.0
// k-WTA (select): of a map [positions, channels], after ReLU, exactly the k largest units survive.
//
//   v = max(x, 0), NaN and -0 count as 0
//   unit u = `chunk` neighbouring channels, ranked by the sum of their v (in channel order, f32)
//   survivors: the winners/groups largest units of every group, per position (local) or in the whole map (global)
//
// A group is one of `groups` equal parts of the channels. Ties go to the lowest channels-last index.
// Winners come out in ascending index order, chunk elements each for themselves: KwtaCountF32(args)
// of them. Ranks are compared as integers (the bits of a float that is not negative order like the
// float). Requires: groups divides channels and winners; chunk divides channels/groups;
// winners/groups <= units of a group (of the position or of the map); positions·channels < 2^31.
// Read first: deploy/ops/README.md. Tested in: kwta_f32_test.cc (exact).
#ifndef BISPARSE_DEPLOY_OPS_KWTA_KWTA_H_
#define BISPARSE_DEPLOY_OPS_KWTA_KWTA_H_

#include <cstdint>

namespace bisparse::kernels {

struct KwtaF32Args {
  const float* x = nullptr;  ///< [positions, channels]
  int32_t positions = 1, channels = 0;
  int32_t winners = 0;  ///< units: per position (local) or of the map (global)
  int32_t groups = 1, chunk = 1;
  bool global = false;
  int32_t pool_w = 0;          ///< see KwtaPoolsF32; 0: x is the map itself
  int32_t* index_k = nullptr;  ///< [KwtaCountF32 + kKwtaSlack]: slack may be overwritten
  float* value_k = nullptr;    ///< [KwtaCountF32 + kKwtaSlack]
  int32_t* begin_p = nullptr;  ///< null, or [positions + 1]: where each position's winners begin
  float* scratch = nullptr;    ///< [KwtaScratchFloats]
};

/// Elements past the last winner of index_k and value_k that must exist (whole vectors are stored).
inline constexpr int64_t kKwtaSlack = 16;

/// Winners that KwtaF32 writes.
int64_t KwtaCountF32(const KwtaF32Args& args) noexcept;
/// Floats of args.scratch.
int64_t KwtaScratchFloats(const KwtaF32Args& args) noexcept;
void KwtaF32(const KwtaF32Args& args) noexcept;

/// Whether pool_w may be set: global scope, one group, no chunks, whole vectors of channels. x is then
/// the map before a 2×2 max-pool of stride 2, pool_w columns wide; positions are those after it.
bool KwtaPoolsF32(const KwtaF32Args& args) noexcept;

/// dense[0 … elements) = 0, then dense[index_k[i]] = value_k[i]: for layers that read the map
/// itself.
void ScatterWinnersF32(const int32_t* index_k, const float* value_k, int64_t count, float* dense,
                       int64_t elements) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_KWTA_KWTA_H_
