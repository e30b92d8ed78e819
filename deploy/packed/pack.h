// SPDX-License-Identifier: Apache-2.0
// Combine (Hunter et al. 2022, step 1): overlays the S sparse kernels of each set into one dense
// kernel, and back.
#ifndef BISPARSE_DEPLOY_PACKED_PACK_H_
#define BISPARSE_DEPLOY_PACKED_PACK_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/layout.h"

namespace bisparse::packed {

/// weight_op: row-major [O][P]; owner_nr: layout.owners() entries. Returns weight_pnl,
/// layout.slots() floats, slots of empty kernels zero. Throws Error (kInternal) naming output and
/// position where a weight that its owner does not allow is not zero.
std::vector<float> Pack(const Layout& layout, std::span<const float> weight_op,
                        std::span<const uint8_t> owner_nr);

/// The inverse: row-major [O][P], zeros where another kernel owns the position.
std::vector<float> Unpack(const Layout& layout, std::span<const float> weight_pnl,
                          std::span<const uint8_t> owner_nr);

/// Weights of real kernels that are owned (structural non-zeros): the layer's non-zero count.
int64_t CountOwned(const Layout& layout, std::span<const uint8_t> owner_nr);

/// Throws Error (kData) at `location` if an owner is not below S: "owner of set 3, run 17 is 25, set
/// size is 24". Owners may be kernel blocks that only pad the last set.
void ValidateOwners(const Layout& layout, std::span<const uint8_t> owner_nr,
                    const std::string& location);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_PACK_H_
