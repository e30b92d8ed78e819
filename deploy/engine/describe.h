// SPDX-License-Identifier: Apache-2.0
// What f32 and int8 plans say of a layer alike. Read first: plan.h. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_DESCRIBE_H_
#define BISPARSE_DEPLOY_ENGINE_DESCRIBE_H_

#include "bisparse/engine.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/packed/model.h"

namespace bisparse {

/// Names, shapes and counts; kernel "none", every multiplication executed, every input active.
LayerSummary Describe(const packed::Layer& layer);

/// The 2×2 max-pool of stride 2 that kernels in front of it or behind it can do too.
bool IsPoolOfTwo(const packed::Layer& layer);

/// Sizes of a k-WTA; pointers are null.
kernels::KwtaF32Args KwtaSizesOf(const packed::Layer& layer);
/// Channels of a group of a k-WTA that conv_taps_i8 can do too: 8 or 16 with one winner; 0 for other layers.
int32_t OneWinnerGroup(const packed::Layer& layer);

/// Of a pool or a depthwise convolution.
kernels::PoolShape PoolShapeOf(const packed::Layer& layer);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_DESCRIBE_H_
