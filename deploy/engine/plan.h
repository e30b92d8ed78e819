// SPDX-License-Identifier: Apache-2.0
// A model made ready to run: the steps of its layers, prepared, and where each step finds what it reads and writes, so that
// running allocates nothing. f32 and int8 alike.
//
// Steps form segments. A step whose weights many samples can share (a linear layer on dense inputs) takes a block of samples
// at once and is a segment of its own; the steps between run as a chain, sample by sample, so that their maps stay in the
// cache.
//   features ─► chain: conv, pool, k-WTA … of each sample ─► batched linear ─► chain ─► logits
// A value that is read in another segment is kept for each sample of a block, the others for one sample. Two values share
// bytes where no step needs both.
// Read first: outline.h (what is prepared), deploy/ops/kernel.h. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_PLAN_H_
#define BISPARSE_DEPLOY_ENGINE_PLAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/engine/cost.h"
#include "deploy/ops/kernel.h"
#include "deploy/packed/model.h"

namespace bisparse {

/// Where bytes lie while a plan runs: byte `offset` + sample · `stride` of a base. The stride is 0 for what a chain keeps of
/// one sample alone.
struct Place {
  enum Base : uint8_t { kNone, kFeatures, kLogits, kArena };
  Base base = kNone;
  int64_t offset = 0, stride = 0;
};

/// A list of winners: three places of one base.
struct ListPlace {
  Place index_k, value_k, begin_p;
};

struct PlannedStep {
  std::unique_ptr<const ops::Step> step;
  int32_t layer = -1;  ///< −1: where an int8 network's features become bytes
  std::vector<Place> x;
  Place y;
  ListPlace in, out;
  bool parallel = false;  ///< one sample of it is split over the engine's threads
};

/// Steps [begin, end): one batched step, or a chain.
struct Segment {
  size_t begin = 0, end = 0;
  bool batched = false;
};

/// How a layer's value can be read after the layer was run, for tracing.
struct TracedValue {
  Place map;  ///< kNone: the list
  ListPlace list;
  int64_t winner_count = 0;
  size_t after_step = 0;  ///< it is there after so many steps
};

struct Plan {
  std::vector<PlannedStep> steps;
  std::vector<Segment> segments;
  std::vector<LayerSummary> layers;
  std::vector<size_t> layers_without_step;  ///< nothing is done, or a neighbour does it
  std::vector<TracedValue> traced;          ///< of each layer; plans without fusing only
  int64_t input_elements = 0, output_elements = 0;
  Place output;  ///< the last value, where no step writes it to the logits (a network of nothing)
  // Sizes of a workspace, in bytes.
  int64_t arena_bytes = 0;
  int64_t scratch_bytes = 0;  ///< of each slot: the largest of the steps'
  int64_t slots = 1;          ///< threads that share a step

  int64_t workspace_bytes() const;
};

/// The model must be valid (packed::ValidateModel) and outlive the plan. Without `fuse` every step does its own layer only
/// and leaves that layer's output. `machine` is what times are expected of; its instruction set is the one in use.
Plan MakePlan(const packed::Model& model, const EngineOptions& options, bool fuse = true,
              const CostMachine& machine = ThisMachine());

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_PLAN_H_
