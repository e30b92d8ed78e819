// SPDX-License-Identifier: Apache-2.0
// The plan of an int8 model: one step a layer on u8 maps, sample by sample. Every kernel computes the
// same bits, so the modes differ in speed alone. Read first: plan.h, NumberFormat in
// deploy/packed/model.h. Tested in: engine_i8_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_PLAN_I8_H_
#define BISPARSE_DEPLOY_ENGINE_PLAN_I8_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/base/aligned_buffer.h"
#include "deploy/base/size.h"
#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/ops/conv/conv_taps_i8.h"
#include "deploy/ops/depthwise/depthwise_columns_i8.h"
#include "deploy/ops/depthwise/depthwise_i8.h"
#include "deploy/ops/kwta/kwta_u8.h"
#include "deploy/ops/linear/linear_winners_i8.h"
#include "deploy/ops/pool/pool_u8.h"
#include "deploy/packed/model.h"

namespace bisparse {

enum class StepKernelI8 : uint8_t {
  kNone,          ///< nothing to do: relu (u8 has no negative values), flatten, affine on the input
  kConvDense,     ///< matmul_i8 on windows
  kConvTaps,      ///< conv_taps_i8, perhaps with the max-pool behind
  kConvQuads,     ///< conv_quads_i8, winners or the whole map
  kDepthwise,     ///< depthwise_columns_i8 or depthwise_i8
  kLinearDense,   ///< matmul_i8
  kLinearPacked,  ///< linear_winners_i8, winners or every input
  kMaxPool,
  kAvgPool,
  kKwta,
};

struct StepI8 {
  StepKernelI8 kernel = StepKernelI8::kNone;
  const packed::Layer* layer = nullptr;
  bool parallel = false;       ///< split over the engine's threads
  bool done_by_other = false;  ///< kMaxPool, kKwta: the convolution in front does it
  bool reads_winners = false;  ///< of the k-WTA in front, else the map
  bool reads_lines = false;    ///< kConvQuads: winners are line_k instead of index_k
  bool emits_winners = false;  ///< kKwta, kConvTaps that does it: list only, no map
  int32_t line_step = 0;       ///< kConvTaps that emits line_k
  int64_t winner_count = 0;    ///< of the list that is emitted

  // Layers with weights: bias with the rounding term, shifts as i32, both padded to 16 outputs.
  AlignedBuffer<int32_t> bias_o, shift_o;
  AlignedBuffer<int8_t>
      weight;  ///< dense kernels: [depth/4][outputs][4]; kLinearPacked, S = 1: rows of 16·n outputs
  bool narrow = false;  ///< all |weight| <= packed::kNarrowWeight
  int64_t depth = 0, outputs = 0, rows = 1;
  uint8_t zero = 0;  ///< what pads the map
  std::optional<kernels::ConvTapsI8> taps;
  std::optional<kernels::ConvQuadsI8> quads;
  std::optional<kernels::DepthwiseColumnsI8> columns;
  std::vector<uint16_t> owner_pn;  ///< linear_winners_i8.h
  int32_t lanes = 1, sets = 1;     ///< kLinearPacked: of the weights that it reads
  kernels::PoolShape pool;         ///< of a depthwise convolution too
  kernels::KwtaU8Args kwta;        ///< sizes; pointers are set by a run
  /// A convolution that does the pool behind it.
  bool PoolsToo() const { return (taps && taps->windows > 1) || (quads && quads->pool); }
};

class Parallel;

struct PlanI8 {
  const packed::Layer* input_affine = nullptr;  ///< applied to the features before they are bytes
  float input_scale = 1;
  int32_t input_zero = 0;
  std::vector<StepI8> steps;
  // Parts of one thread's arena, in bytes, each a multiple of 64: two maps, scratch of a kernel, sums,
  // winners.
  int64_t map_bytes = 0, scratch_bytes = 0, acc_bytes = 0, winner_elements = 0;
  int64_t slots = 1;  ///< threads that share a step: each has its scratch and sums
  int64_t arena_bytes() const {
    return (Size(2) * map_bytes + Size(slots) * (Size(scratch_bytes) + acc_bytes) +
            Size(5) * winner_elements)
        .value();
  }
};

/// mode_i: of each layer; kAuto is none. Also describes the layers. The model must be valid and outlive the plan.
PlanI8 MakePlanI8(const packed::Model& model, std::span<const Mode> mode_i, bool fuse,
                  std::vector<LayerSummary>& layers);

/// Called behind each step with the map it left as u8 (winners scattered), null for logits and unless `maps`.
using AfterStepI8 = std::function<void(size_t layer, const uint8_t* map)>;
/// One sample; `after` may be empty. No allocation without it.
/// parallel: null, or what steps that are worth it are split over.
void ExecuteI8(const PlanI8& plan, const float* x_i, float* y_o, uint8_t* arena,
               Parallel* parallel = nullptr, const AfterStepI8& after = {}, bool maps = false);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_PLAN_I8_H_
