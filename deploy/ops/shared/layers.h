// SPDX-License-Identifier: Apache-2.0
// What entries of several operators ask of layers. Read first: deploy/ops/kernel.h. Tested in: deploy/engine/engine_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_LAYERS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_LAYERS_H_

#include <cstdint>
#include <span>

#include "deploy/base/aligned_buffer.h"
#include "deploy/ops/kernel.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

/// The 2×2 max-pool of stride 2 that kernels before it or after it can do too.
bool IsPoolOfTwo(const packed::Layer& layer);
/// Sizes of a k-WTA; pointers are null.
kernels::KwtaF32Args KwtaSizesOf(const packed::Layer& kwta);
/// Elements of its list.
int64_t WinnersOf(const packed::Layer& kwta);
/// Elements of its list at each position; 0 where they may differ (global scope).
int32_t WinnersAtPosition(const packed::Layer& kwta);
/// Channels of a group of a local k-WTA with one winner a group, 8 or 16 of them; 0 for other layers.
int32_t OneWinnerGroup(const packed::Layer& kwta);
/// Of a pool or a depthwise convolution.
kernels::PoolShape PoolShapeOf(const packed::Layer& layer);

inline int64_t PositionsOf(const Shape& map) { return int64_t{map.height} * map.width; }

/// Of a layer with weights: what it skips, and if nothing, why.
const char* ReasonOf(const Node& node, bool reads_winners, bool packed_weights);

/// A summary's counts of a map that is computed by its packed weights.
struct Held {
  int64_t macs_executed = 0, weight_bytes = 0, active_inputs = 0;
};
void Tell(const Held& held, LayerSummary& summary);
/// The counts of a layer with two floats for each channel, a factor and a sum.
void TellChannels(const packed::Layer& layer, LayerSummary& summary);

/// f32 weights as the dense kernels read them: rows of outputs padded to 16, weight_po[p][o]; in place where the model has
/// that form (S = 1, L = 16).
struct DenseRows {
  DenseRows(const packed::Layout& layout, const packed::Layer& layer);
  const float* weight_po = nullptr;
  const float* bias_o = nullptr;
  int64_t bytes = 0;

 private:
  AlignedBuffer<float> own_weight_, own_bias_;
};

/// int8 biases and shifts as kernels read them, padded to 16 outputs: bias_o holds the rounding term, and the step that
/// means 0 in the output, so that clamp(acc >> shift, 0, 255) is the output.
struct Ends {
  Ends() = default;
  Ends(const packed::Layer& layer, int64_t outputs);
  AlignedBuffer<int32_t> bias_o, shift_o;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_LAYERS_H_
