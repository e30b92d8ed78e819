// SPDX-License-Identifier: Apache-2.0
// Chooses how a convolution with packed weights runs and makes the lists for it, once, when a
// network is loaded. Read first: conv_packed.h, deploy/ops/shared/packed_lists.h.
// Tested in: conv_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_PREPARE_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_PREPARE_H_

#include <cstdint>
#include <optional>
#include <span>

#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/shared/packed_lists.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// A prepared convolution. Moving it keeps plan's pointers valid (they point into vectors' heap
/// blocks).
struct PreparedConv {
  PackedLists lists;
  ConvPackedPlanF32 plan;
  int64_t macs_per_map =
      0;  ///< multiplications by real weights for one map (kColumns, kLanes, kAligned… exact)
};

/// How the winners that a convolution reads come: what the k-WTA layer says about them.
struct WinnersPattern {
  int32_t per_position =
      0;  ///< elements (winners·chunk) at each position; 0 = global scope, not constant
  int32_t groups = 1;  ///< each group of in_c/groups channels has per_position/groups of them
};

/// The forms that the functions below give a convolution of winners, and one with a pool after it. The second gives
/// nothing where L < 16 and the shifted rows would not fit into L1. Forms follow from shapes and owners alone: they are the
/// same on every machine.
ConvPackedForm ConvPackedWinnersForm(const packed::Layout& layout, const packed::Window& window,
                                     const WinnersPattern& pattern,
                                     std::span<const uint8_t> owner_nr);
std::optional<ConvPackedForm> ConvPackedPooledForm(const packed::Layout& layout,
                                                   const packed::Window& window, const Shape& input,
                                                   const Shape& output);

/// weight_pnl and bias_o are used in place and must outlive the plan. Throws Error (kInternal)
/// where sizes exceed 31 bits.
PreparedConv PrepareConvPackedDenseF32(const packed::Layout& layout, const packed::Window& window,
                                       const Shape& input, const Shape& output,
                                       std::span<const uint8_t> owner_nr,
                                       std::span<const float> weight_pnl,
                                       std::span<const float> bias_o);

/// With the 2×2 max-pool of stride 2 after it; nothing where L < 16 and the shifted rows would not fit into L1.
std::optional<PreparedConv> PrepareConvPackedPooledF32(const packed::Layout& layout,
                                                       const packed::Window& window,
                                                       const Shape& input, const Shape& output,
                                                       std::span<const uint8_t> owner_nr,
                                                       std::span<const float> weight_pnl,
                                                       std::span<const float> bias_o);

PreparedConv PrepareConvPackedWinnersF32(const packed::Layout& layout, const packed::Window& window,
                                         const Shape& input, const Shape& output,
                                         const WinnersPattern& pattern,
                                         std::span<const uint8_t> owner_nr,
                                         std::span<const float> weight_pnl,
                                         std::span<const float> bias_o);

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_PREPARE_H_
