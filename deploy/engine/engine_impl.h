// SPDX-License-Identifier: Apache-2.0
// What an engine consists of. Read first: deploy/include/bisparse/engine.h, plan.h, execute.h.
#ifndef BISPARSE_DEPLOY_ENGINE_ENGINE_IMPL_H_
#define BISPARSE_DEPLOY_ENGINE_ENGINE_IMPL_H_

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "bisparse/engine.h"
#include "deploy/engine/execute.h"
#include "deploy/engine/outline.h"
#include "deploy/engine/parallel.h"
#include "deploy/engine/plan.h"
#include "deploy/engine/workspace_pool.h"
#include "deploy/frontend/log_mel.h"
#include "deploy/frontend/pixels.h"
#include "deploy/packed/model.h"

namespace bisparse {

struct Engine::Impl {
  Impl(packed::Model the_model, const EngineOptions& the_options);

  void CheckProcess(const char* function) const {
    if (parallel) parallel->CheckProcess(function);
  }

  void RunOne(const float* x_i, float* y_o, Workspace& workspace) {
    Execute(plan, x_i, 1, y_o, workspace, parallel ? &*parallel : nullptr);
  }
  /// One sample with everything checked that a caller may have got wrong; `function` is whom errors name.
  void Run(const char* function, std::span<const float> features, std::span<float> logits);

  void RunBlocks(const float* x_bi, int64_t begin, int64_t end, float* y_bo, Workspace& workspace) {
    for (int64_t b = begin; b < end; b += ops::kMostSamples) {
      Execute(plan, x_bi + b * plan.input_elements, std::min(ops::kMostSamples, end - b),
              y_bo + b * plan.output_elements, workspace);
    }
  }

  /// Any number of samples; a batch over the engine's threads.
  void RunSamples(const float* x_bi, int64_t batch, float* y_bo);

  const packed::Model model;
  const DetectionOptions detection;
  const EngineOptions options;
  const int threads;
  const Plan plan;
  WorkspacePool pool;
  std::optional<Parallel> parallel;
  std::optional<LogMel> log_mel;
  std::optional<PixelScale> pixel_scale;
  // Made when somebody traces.
  std::once_flag tracing_once;
  std::optional<Outline> tracing_outline;
  std::optional<Plan> tracing_plan;
  std::optional<WorkspacePool> tracing_pool;
};

/// Throws Error (kConfiguration).
void CheckStreamOptions(const StreamOptions& options);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_ENGINE_IMPL_H_
