// SPDX-License-Identifier: Apache-2.0
// Runs a plan on a block of samples in one thread's workspace. No allocation, no lock, no threads.
// Read first: plan.h. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_EXECUTE_H_
#define BISPARSE_DEPLOY_ENGINE_EXECUTE_H_

#include <cstdint>
#include <functional>
#include <span>

#include "deploy/base/aligned_buffer.h"
#include "deploy/engine/outline.h"
#include "deploy/engine/plan.h"

namespace bisparse {

class Parallel;

/// The memory that one thread needs to run a plan.
struct Workspace {
  explicit Workspace(const Plan& plan);

  AlignedBuffer<uint8_t> arena, scratch;
  AlignedBuffer<float> features;  ///< of raw samples
};

/// Samples [0, count), count <= ops::kMostSamples: features x_bi → logits y_bo, back to back.
/// parallel: null, or the threads that share a large step of one sample (count 1).
void Execute(const Plan& plan, const float* x_bi, int64_t count, float* y_bo, Workspace& workspace,
             Parallel* parallel = nullptr);

/// One sample; adds each layer's time to layer_ns, and to layers without a step what asking for the time takes.
void ExecuteProfiled(const Plan& plan, const float* x_i, float* y_o, Workspace& workspace,
                     std::span<int64_t> layer_ns);

/// One sample through a plan that was made without fusing; calls once with each layer's index and output map as soon as it
/// is there, winners scattered into zeros, int8 as real numbers (`outline`: of the same model). Allocates.
using TraceCallback = std::function<void(size_t layer, std::span<const float> output)>;
void ExecuteTraced(const Plan& plan, const Outline& outline, const float* x_i, float* y_o,
                   Workspace& workspace, const TraceCallback& callback);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_EXECUTE_H_
