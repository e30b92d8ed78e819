// SPDX-License-Identifier: Apache-2.0
// What a model file may ask for, at most. Far beyond any network for a CPU; ValidateModel and MakePlan refuse the rest, so
// that a file of strangers costs a bounded time and memory. What follows from them:
//
//   memory   of an engine: the file, once more as the kernels' lists (up to five times its weights) or as dense rows (1 GiB),
//            and for each thread or concurrent caller a workspace of at most 1 GiB
//   time     of a sample: 2^34 multiplications or what takes as long, some seconds on one core
//   int32    a padded map's elements, and four times as many, fit 32 bits: kernels keep places in maps as int32_t
//
// Read first: model.h, deploy/base/size.h. docs/model-format.md lists them. Tested in: model_test.cc, limits_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_LIMITS_H_
#define BISPARSE_DEPLOY_PACKED_LIMITS_H_

#include <cstdint>

#include "deploy/base/size.h"
#include "deploy/packed/model.h"

namespace bisparse::packed {

/// Of a map, with the padding that its reader puts around it. As floats 256 MiB.
inline constexpr int64_t kMaxElements = int64_t{1} << 26;
/// Of all layers, as dense rows of whole registers (outputs padded to 16). As floats 1 GiB.
inline constexpr int64_t kMaxWeights = int64_t{1} << 28;
/// Of one sample; see Work. VGG-16 on 224×224 takes 0.9 of it.
inline constexpr int64_t kMaxWork = int64_t{1} << 34;
/// Neighbouring channels of a k-WTA's unit: their sum of u8 fits 24 bits.
inline constexpr int32_t kMaxChunk = 1 << 16;
/// Of a layer_norm: C² · 255² fits 64 bits.
inline constexpr int32_t kMaxNormChannels = 1 << 23;
/// Of a layer_norm's epsilon.
inline constexpr double kLeastEpsilon = 1e-12, kMostEpsilon = 1;
/// Of one thread's workspace (Engine::workspace_bytes).
inline constexpr int64_t kMaxWorkspaceBytes = int64_t{1} << 30;

/// Elements of the map that the layer reads, padding included.
Size PaddedElements(const Layer& layer);

/// Weights of the layer as dense rows; 0 for a layer without.
Size DenseWeights(const Layer& layer);

/// An element that is only passed over (it is bound by memory), and one that competes in a k-WTA, in multiplications.
inline constexpr int64_t kWorkOfPassing = 8, kWorkOfCompeting = 64;

/// Of a layer that multiplies `taps` times for an output element and reads its (first) input once.
Size WorkOf(const Layer& layer, Size taps, int64_t of_reading = kWorkOfPassing);

/// Multiplications of the dense layer and what its operator counts as much (Operator::work).
Size Work(const Layer& layer);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_LIMITS_H_
