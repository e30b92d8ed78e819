// SPDX-License-Identifier: Apache-2.0
// Lists for linear layers with packed weights, made once when a network is loaded.
// Read first: linear_packed.h, deploy/ops/shared/packed_lists.h. Tested in: linear_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_PREPARE_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_PREPARE_H_

#include <cstdint>
#include <span>

#include "deploy/ops/shared/packed_lists.h"
#include "deploy/packed/layout.h"

namespace bisparse::kernels {

/// begin_b, input_e, weight_e, and weight_copy where L < 16. Throws Error (kInternal) past 31 bits.
PackedLists PrepareLinearPackedDenseF32(const packed::Layout& layout,
                                        std::span<const uint8_t> owner_nr,
                                        std::span<const float> weight_pnl);

/// owner_pn (empty where S = 1).
PackedLists PrepareLinearPackedWinnersF32(const packed::Layout& layout,
                                          std::span<const uint8_t> owner_nr);

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_PREPARE_H_
