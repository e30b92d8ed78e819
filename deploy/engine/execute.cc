// SPDX-License-Identifier: Apache-2.0
// One loop over the steps of a plan. Read first: execute.h. Tested in: engine_test.cc.
#include "deploy/engine/execute.h"

#include <array>
#include <chrono>
#include <cstring>
#include <vector>

#include "deploy/engine/parallel.h"
#include "deploy/packed/limits.h"

namespace bisparse {
namespace {

/// Where a run's bytes are, by Place::Base.
struct Bases {
  Bases(const float* features, float* logits, Workspace& workspace)
      // Nothing writes to a place of features.
      : at{nullptr, reinterpret_cast<uint8_t*>(const_cast<float*>(features)),
           reinterpret_cast<uint8_t*>(logits), workspace.arena.data()} {}
  uint8_t* operator()(const Place& place, int64_t sample) const {
    return at[place.base] + place.offset + sample * place.stride;
  }
  ops::List operator()(const ListPlace& list, int64_t sample) const {
    return {.index_k = reinterpret_cast<int32_t*>((*this)(list.index_k, sample)),
            .value_k = (*this)(list.value_k, sample),
            .begin_p = reinterpret_cast<int32_t*>((*this)(list.begin_p, sample))};
  }
  uint8_t* at[4];
};

void RunStep(const PlannedStep& planned, const Bases& bases, int64_t sample, int64_t samples,
             const Plan& plan, Workspace& workspace, Parallel* parallel) {
  ops::StepIo io;
  std::array<const void*, packed::kMaxInputs> x_j;
  io.x = bases(planned.x[0], sample);
  if (planned.x.size() > 1) {
    for (size_t j = 0; j < planned.x.size(); ++j) x_j[j] = bases(planned.x[j], sample);
    io.x_j = x_j.data();
  }
  io.y = bases(planned.y, sample);
  if (planned.in.index_k.base != Place::kNone) io.in = bases(planned.in, sample);
  if (planned.out.index_k.base != Place::kNone) io.out = bases(planned.out, sample);
  io.samples = samples;
  io.scratch = workspace.scratch.data();
  io.scratch_stride = plan.scratch_bytes;
  const ops::Step& step = *planned.step;
  if (parallel == nullptr || !planned.parallel) return step.Run(io);
  step.Begin(io);
  parallel->For(step.parts, step.grain,
                [&](int64_t begin, int64_t end, int slot) { step.RunPart(io, begin, end, slot); });
  step.End(io);
}

/// Runs everything; after(s) is called after step s of every sample (after a batched step once for all).
template <class After>
void RunSegments(const Plan& plan, const Bases& bases, int64_t count, Workspace& workspace,
                 Parallel* parallel, const After& after) {
  for (const Segment& segment : plan.segments) {
    if (segment.batched) {
      RunStep(plan.steps[segment.begin], bases, 0, count, plan, workspace, parallel);
      after(segment.begin);
      continue;
    }
    for (int64_t b = 0; b < count; ++b) {
      for (size_t s = segment.begin; s < segment.end; ++s) {
        RunStep(plan.steps[s], bases, b, 1, plan, workspace, parallel);
        after(s);
      }
    }
  }
  if (plan.output.base == Place::kNone) return;
  std::memcpy(bases.at[Place::kLogits], bases(plan.output, 0),
              static_cast<size_t>(4 * count * plan.output_elements));
}

}  // namespace

Workspace::Workspace(const Plan& plan)
    : arena(static_cast<size_t>(plan.arena_bytes)),
      scratch(static_cast<size_t>(plan.slots * plan.scratch_bytes)),
      features(static_cast<size_t>(plan.input_elements)) {}

void Execute(const Plan& plan, const float* x_bi, int64_t count, float* y_bo, Workspace& workspace,
             Parallel* parallel) {
  RunSegments(plan, Bases(x_bi, y_bo, workspace), count, workspace, parallel, [](size_t) {});
}

void ExecuteProfiled(const Plan& plan, const float* x_i, float* y_o, Workspace& workspace,
                     std::span<int64_t> layer_ns) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  const auto add_time = [&](size_t layer) {
    const Clock::time_point end = Clock::now();
    layer_ns[layer] += std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
    begin = end;
  };
  RunSegments(plan, Bases(x_i, y_o, workspace), 1, workspace, nullptr, [&](size_t s) {
    // Where features become bytes is the first layer's.
    add_time(static_cast<size_t>(std::max(plan.steps[s].layer, 0)));
  });
  begin = Clock::now();
  for (const size_t layer : plan.layers_without_step) add_time(layer);
}

void ExecuteTraced(const Plan& plan, const Outline& outline, const float* x_i, float* y_o,
                   Workspace& workspace, const TraceCallback& callback) {
  const Bases bases(x_i, y_o, workspace);
  const packed::Model& model = outline.model();
  const bool f32 = model.format == packed::NumberFormat::kF32;
  std::vector<float> map;
  const auto trace = [&](size_t i) {
    const TracedValue& value = plan.traced[i];
    const auto elements = static_cast<size_t>(model.layers[i].output.elements());
    map.assign(elements, 0.0f);
    const packed::Quantisation steps = outline.StepsOf(static_cast<int32_t>(i));
    const auto real = [&](uint8_t q) {
      return steps.scale * static_cast<float>(int32_t{q} - steps.zero);
    };
    if (value.map.base == Place::kNone) {
      const ops::List list = bases(value.list, 0);
      for (int64_t k = 0; k < value.winner_count; ++k) {
        map[static_cast<size_t>(list.index_k[k])] =
            f32 ? static_cast<const float*>(list.value_k)[k]
                : real(static_cast<const uint8_t*>(list.value_k)[k]);
      }
    } else if (f32 || value.map.base == Place::kLogits) {
      std::memcpy(map.data(), bases(value.map, 0), elements * sizeof(float));
    } else {
      const uint8_t* q = bases(value.map, 0);
      for (size_t e = 0; e < elements; ++e) map[e] = real(q[e]);
    }
    callback(i, map);
  };
  const auto trace_after = [&](size_t steps) {
    for (size_t i = 0; i < plan.traced.size(); ++i) {
      if (plan.traced[i].after_step == steps) trace(i);
    }
  };
  trace_after(0);
  RunSegments(plan, bases, 1, workspace, nullptr, [&](size_t s) { trace_after(s + 1); });
}

}  // namespace bisparse
