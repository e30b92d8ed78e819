// SPDX-License-Identifier: Apache-2.0
// Where an int8 network's features become bytes: the step before its first layer. Read first: NumberFormat in
// deploy/packed/model.h. Tested in: deploy/engine/engine_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_QUANTISE_H_
#define BISPARSE_DEPLOY_OPS_QUANTISE_H_

#include <memory>

#include "deploy/ops/kernel.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

/// Row of the cost table.
inline constexpr const char* kQuantiseRow = "quantise_u8";

/// x: f32 features; y: u8. The affine that the model may begin with is applied before.
std::unique_ptr<Step> MakeQuantiseStep(const packed::Model& model);
/// A map of floats that becomes u8.
Work CountQuantise(int64_t elements, int32_t vector_bytes);

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_QUANTISE_H_
