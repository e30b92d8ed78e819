// SPDX-License-Identifier: Apache-2.0
// A model made ready to run: one step a layer with its kernel chosen, weights in the form which
// that kernel reads, and the sizes of everything a run needs, so that running allocates nothing.
//
// Steps form segments. A segment of one step with weights that many samples can share (a linear
// layer on dense inputs) takes a block of samples at once; the steps between run as a chain, sample
// by sample, so that their maps stay in the cache.
//   features ─► chain: conv, pool, k-WTA … of each sample ─► batched linear ─► chain ─► logits
// Read first: deploy/packed/model.h, deploy/ops/README.md. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_PLAN_H_
#define BISPARSE_DEPLOY_ENGINE_PLAN_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/base/aligned_buffer.h"
#include "deploy/engine/cost.h"
#include "deploy/engine/plan_i8.h"
#include "deploy/ops/conv/conv_dense_f32.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/depthwise/depthwise_f32.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/linear/linear_dense_f32.h"
#include "deploy/ops/linear/linear_packed.h"
#include "deploy/ops/pool/pool_f32.h"
#include "deploy/ops/shared/packed_lists.h"
#include "deploy/packed/model.h"

namespace bisparse {

enum class StepKernel : uint8_t {
  kNone,                 ///< nothing to do: flatten
  kConvDense,            ///< conv_dense_f32
  kConvPackedDense,      ///< conv_packed, every activation
  kConvPackedPooled,     ///< the same with the max-pool behind
  kConvPackedWinners,    ///< conv_packed, winners only
  kDepthwise,            ///< depthwise_f32
  kLinearDense,          ///< linear_dense_f32; batched
  kLinearDenseWinners,   ///< linear_dense_f32, rows of the winners only
  kLinearPackedDense,    ///< linear_packed, every activation; batched
  kLinearPackedWinners,  ///< linear_packed, winners only
  kAffine,
  kMaxPool,
  kAvgPool,
  kRelu,
  kKwta,
};

/// One layer. Which members are used follows from `kernel`; pointers go into the model's storage or
/// into the step's own buffers, whose memory does not move with the step.
struct Step {
  StepKernel kernel = StepKernel::kNone;
  Shape input, output;
  bool fused_relu = false;  ///< dense kernels: the ReLU behind is done in the same pass
  bool done_by_other =
      false;  ///< kRelu, kMaxPool, kKwta: a neighbour does it (fused, or the k-WTA behind)
  bool emits_winners = false;  ///< kKwta: the next layer reads the list; else the map is written
  int64_t winner_count = 0;    ///< kKwta: elements; k…Winners: of the k-WTA in front

  const float* weight = nullptr;  ///< rows of 16 lanes (dense kernels), packed, or affine's scale
  const float* bias_o = nullptr;
  AlignedBuffer<float> own_weight, own_bias;  ///< where the model's form is not the kernel's

  kernels::ConvDenseShape conv;
  std::vector<int32_t> offset_p;
  kernels::PreparedConv prepared;
  kernels::LinearDenseShape linear;
  packed::Packing packing;
  int32_t sets = 1;
  kernels::PackedLists lists;
  kernels::PoolShape pool;    ///< of a depthwise convolution too
  int64_t weight_stride = 0;  ///< kDepthwise
  kernels::KwtaF32Args kwta;  ///< sizes; pointers are set by a run. kConvPackedPooled: of the
                              ///< k-WTA behind, if it is done here; else channels = 0
  bool kwta_begins = false;   ///< a convolution behind a global k-WTA asks where positions begin

  int64_t scratch_floats = 0;
  bool parallel = false;  ///< one sample of it is split over the engine's threads
  bool batched() const {
    return kernel == StepKernel::kLinearDense || kernel == StepKernel::kLinearPackedDense;
  }
};

/// Steps [begin, end): one batched step, or a chain.
struct Segment {
  size_t begin = 0, end = 0;
  bool batched = false;
};

/// Samples that a task takes through the network together. Sixteen share a linear layer's weights
/// well enough to be bound by arithmetic (3 tiles of 6), and their maps at segment boundaries stay
/// in L2.
inline constexpr int64_t kBlockSamples = 16;

struct Plan {
  std::vector<Step> steps;
  std::vector<Segment> segments;
  std::vector<LayerSummary> layers;
  std::optional<PlanI8> i8;  ///< of an int8 model: it has steps of its own, and no f32 steps
  int64_t input_elements = 0, output_elements = 0;
  // Sizes of a workspace, see execute.h.
  int64_t chain_floats = 0;    ///< each of two: the largest map inside a chain
  int64_t block_floats = 0;    ///< each of two: kBlockSamples maps between segments
  int64_t scratch_floats = 0;  ///< the largest of the steps'; as often as there are slots
  int64_t slots = 1;           ///< threads that share a step
  int64_t winner_elements = 0, begin_elements = 0;

  int64_t workspace_bytes() const;
};

/// The model must be valid (packed::ValidateModel) and outlive the plan. Without `fuse` every step
/// does its own layer only and leaves that layer's output. `machine` is what times are expected of; its instruction set is
/// the one in use.
Plan MakePlan(const packed::Model& model, const EngineOptions& options, bool fuse = true,
              const CostMachine& machine = ThisMachine());

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_PLAN_H_
