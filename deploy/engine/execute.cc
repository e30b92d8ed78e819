// SPDX-License-Identifier: Apache-2.0
// Calls the kernels that a plan chose. Read first: execute.h. Tested in: engine_test.cc.
#include "deploy/engine/execute.h"

#include <chrono>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "deploy/engine/parallel.h"
#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/elementwise/elementwise_f32.h"

namespace bisparse {
namespace {

using kernels::WinnersF32;

size_t Bytes(int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); }

/// What a step reads: a dense map, or the winners that the k-WTA in front left.
struct Activation {
  const float* map = nullptr;
  WinnersF32 winners;
};

/// Into the workspace's list of winners.
WinnersF32 WinnersIn(const Workspace& workspace, const Step& step) {
  const kernels::KwtaF32Args& kwta = step.kwta;
  return {
      .index_k = workspace.winner_index.data(),
      .value_k = workspace.winner_value.data(),
      .count = step.winner_count,
      .per_position = kwta.global ? 0 : static_cast<int32_t>(step.winner_count / kwta.positions),
      .begin_p = step.kwta_begins ? workspace.position_begin.data() : nullptr};
}

/// Rows [begin, end) of a packed convolution's output.
void RunPackedConv(const Step& step, const Activation& x, float* y, int64_t begin, int64_t end,
                   float* scratch, Workspace& workspace) {
  const int64_t stride = step.output.channels;
  const auto row_begin = static_cast<int32_t>(begin), row_end = static_cast<int32_t>(end);
  if (step.kernel == StepKernel::kConvPackedDense || step.kernel == StepKernel::kConvPackedPooled) {
    const kernels::ConvPackedDenseF32Args args{.plan = step.prepared.plan,
                                               .input = x.map,
                                               .output = y,
                                               .output_stride = stride,
                                               .row_begin = row_begin,
                                               .row_end = row_end,
                                               .scratch = scratch};
    if (step.kernel == StepKernel::kConvPackedDense) return kernels::ConvPackedDenseF32(args);
    if (step.emits_winners) {
      kernels::ConvPackedPooledWinnersF32(args, {.groups = step.kwta.groups,
                                                 .index_k = workspace.winner_index.data(),
                                                 .value_k = workspace.winner_value.data()});
      return;
    }
    return args.plan.form == kernels::ConvPackedForm::kPooledLanes
               ? kernels::ConvPackedPooledLanesF32(args)
               : kernels::ConvPackedPooledF32(args);
  }
  kernels::ConvPackedWinnersF32({.plan = step.prepared.plan,
                                 .winners = x.winners,
                                 .output = y,
                                 .output_stride = stride,
                                 .row_begin = row_begin,
                                 .row_end = row_end,
                                 .scratch = scratch});
}

void RunConv(const Step& step, Activation& x, float* y, bool relu, Workspace& workspace,
             Parallel* parallel) {
  float* scratch = workspace.scratch.data();
  if (step.kernel != StepKernel::kConvDense) {
    SplitOver(parallel, step.parallel, step.output.height, 1,
              [&](int64_t begin, int64_t end, int slot) {
                RunPackedConv(step, x, y, begin, end, scratch + slot * workspace.scratch_floats,
                              workspace);
              });
    if (step.emits_winners) x.winners = WinnersIn(workspace, step);
    return;
  }
  const kernels::ConvDenseShape& conv = step.conv;
  const float* padded = x.map;
  if (step.scratch_floats > 0) {
    kernels::PadMap(x.map, conv.in_h, conv.in_w, conv.channels, conv.pad_h, conv.pad_w, scratch);
    padded = scratch;
  }
  SplitOver(parallel, step.parallel, conv.out_positions(), 6, [&](int64_t begin, int64_t end, int) {
    kernels::ConvDenseF32(conv, padded, step.offset_p.data(), step.weight, step.bias_o, relu, begin,
                          end, y);
  });
}

void RunLinearWinners(const Step& step, const WinnersF32& winners, float* y, bool relu,
                      Workspace& workspace, Parallel* parallel) {
  if (step.kernel == StepKernel::kLinearDenseWinners) {
    return kernels::LinearWinnersF32(step.linear, winners.index_k, winners.value_k, winners.count,
                                     step.weight, step.bias_o, relu, y);
  }
  SplitOver(parallel, step.parallel, step.sets, 1, [&](int64_t begin, int64_t end, int) {
    kernels::LinearPackedWinnersF32({.inputs = static_cast<int32_t>(step.linear.inputs),
                                     .outputs = static_cast<int32_t>(step.linear.outputs),
                                     .set_size = step.packing.set_size,
                                     .lanes = step.packing.lanes,
                                     .sets = step.sets,
                                     .set_begin = static_cast<int32_t>(begin),
                                     .set_end = static_cast<int32_t>(end),
                                     .weight_pnl = step.weight,
                                     .bias_o = step.bias_o,
                                     .owner_pn = step.lists.owner_pn.data(),
                                     .winners = winners,
                                     .output = y,
                                     .scratch = workspace.scratch.data()});
  });
}

/// Leaves the winners' list in the workspace; writes the map only where somebody reads it.
WinnersF32 RunKwta(const Step& step, const float* x, float* y, Workspace& workspace) {
  kernels::KwtaF32Args args = step.kwta;
  args.x = x;
  args.index_k = workspace.winner_index.data();
  args.value_k = workspace.winner_value.data();
  args.begin_p = step.kwta_begins ? workspace.position_begin.data() : nullptr;
  args.scratch = workspace.scratch.data();
  kernels::KwtaF32(args);
  if (!step.emits_winners) {
    kernels::ScatterWinnersF32(args.index_k, args.value_k, step.winner_count, y,
                               step.output.elements());
  }
  return WinnersIn(workspace, step);
}

/// Samples [0, count) through a batched step; one sample may be split by outputs.
void RunBatched(const Step& step, const float* x_bi, int64_t count, float* y_bo, bool relu,
                Parallel* parallel) {
  const kernels::LinearDenseShape& linear = step.linear;
  const bool split = step.parallel && count == 1;
  if (step.kernel == StepKernel::kLinearDense) {
    return SplitOver(parallel, split, linear.outputs, 16, [&](int64_t begin, int64_t end, int) {
      const kernels::LinearDenseShape part{
          .inputs = linear.inputs, .outputs = end - begin, .weight_pitch = linear.pitch()};
      kernels::LinearDenseF32(part, x_bi, count, step.weight + begin, step.bias_o + begin, relu,
                              y_bo + begin);
    });
  }
  const int64_t lanes = step.packing.lanes, blocks = int64_t{step.sets} * step.packing.set_size;
  SplitOver(parallel, split, blocks, 16 / std::gcd(lanes, 16),
            [&](int64_t begin, int64_t end, int) {
              const int64_t first = begin * lanes, last = std::min(end * lanes, linear.outputs);
              if (first >= last) return;  // kernels that pad the last set
              kernels::LinearPackedDenseF32({.inputs = static_cast<int32_t>(linear.inputs),
                                             .outputs = static_cast<int32_t>(last - first),
                                             .set_size = 1,
                                             .lanes = step.packing.lanes,
                                             .sets = static_cast<int32_t>(end - begin),
                                             .weight = step.weight,
                                             .bias_o = step.bias_o + first,
                                             .begin_b = step.lists.begin_b.data() + begin,
                                             .input_e = step.lists.input_e.data(),
                                             .weight_e = step.lists.weight_e.data(),
                                             .batch = count,
                                             .input = x_bi,
                                             .input_stride = linear.inputs,
                                             .output = y_bo + first,
                                             .output_stride = linear.outputs});
            });
}

/// One step that is not batched; y is written unless winners are emitted or nothing is to do.
void RunStep(const Step& step, Activation& x, float* y, bool relu, Workspace& workspace,
             Parallel* parallel) {
  switch (step.kernel) {
    case StepKernel::kConvDense:
    case StepKernel::kConvPackedDense:
    case StepKernel::kConvPackedPooled:
    case StepKernel::kConvPackedWinners:
      RunConv(step, x, y, relu, workspace, parallel);
      break;
    case StepKernel::kDepthwise:
      SplitOver(parallel, step.parallel, step.output.height, 1,
                [&](int64_t begin, int64_t end, int) {
                  kernels::DepthwiseF32({.shape = step.pool,
                                         .x_yxc = x.map,
                                         .weight_pc = step.weight,
                                         .weight_stride = step.weight_stride,
                                         .bias_c = step.bias_o,
                                         .relu = relu,
                                         .row_begin = begin,
                                         .row_end = end,
                                         .y_yxc = y});
                });
      break;
    case StepKernel::kLinearDenseWinners:
    case StepKernel::kLinearPackedWinners:
      RunLinearWinners(step, x.winners, y, relu, workspace, parallel);
      break;
    case StepKernel::kAffine:
      kernels::AffineF32(x.map, int64_t{step.input.height} * step.input.width, step.input.channels,
                         step.weight, step.bias_o, y);
      break;
    case StepKernel::kMaxPool:
      kernels::MaxPoolF32(step.pool, x.map, 0, step.pool.out_h(), y);
      break;
    case StepKernel::kAvgPool:
      kernels::AvgPoolF32(step.pool, x.map, 0, step.pool.out_h(), y);
      break;
    case StepKernel::kRelu:
      kernels::ReluF32(x.map, step.output.elements(), y);
      break;
    case StepKernel::kKwta:
      x.winners = RunKwta(step, x.map, y, workspace);
      break;
    case StepKernel::kNone:
    case StepKernel::kLinearDense:
    case StepKernel::kLinearPackedDense:
      break;
  }
}

/// Runs everything; after(i, activation) is called behind step i of every sample (behind a batched
/// step once for all).
template <class After>
void RunSegments(const Plan& plan, const float* x_bi, int64_t count, float* y_bo,
                 Workspace& workspace, Parallel* parallel, const After& after) {
  const float* from = x_bi;
  int64_t from_elements = plan.input_elements;
  for (size_t g = 0; g < plan.segments.size(); ++g) {
    const Segment& segment = plan.segments[g];
    const bool last = g + 1 == plan.segments.size();
    float* to = last ? y_bo : workspace.block[g % 2].data();
    const int64_t to_elements = plan.steps[segment.end - 1].output.elements();
    if (segment.batched) {
      const Step& step = plan.steps[segment.begin];
      RunBatched(step, from, count, to, step.fused_relu, parallel);
      after(segment.begin, Activation{.map = to});
    } else {
      for (int64_t b = 0; b < count; ++b) {
        Activation x{.map = from + b * from_elements};
        float* end = to + b * to_elements;
        for (size_t i = segment.begin; i < segment.end; ++i) {
          const Step& step = plan.steps[i];
          const bool idle = step.kernel == StepKernel::kNone || step.done_by_other;
          if (!idle) {
            float* y = i + 1 == segment.end ? end : workspace.chain[i % 2].data();
            if (x.map == y) y = workspace.chain[(i + 1) % 2].data();
            RunStep(step, x, y, step.fused_relu, workspace, parallel);
            x.map = step.emits_winners ? nullptr : y;
          }
          after(i, x);
        }
        if (x.map != end) std::memcpy(end, x.map, Bytes(to_elements));
      }
    }
    from = to;
    from_elements = to_elements;
  }
  if (plan.segments.empty()) std::memcpy(y_bo, x_bi, Bytes(count * plan.input_elements));
}

}  // namespace

Workspace::Workspace(const Plan& plan)
    : scratch_floats(plan.scratch_floats),
      scratch(static_cast<size_t>(plan.slots * plan.scratch_floats)),
      winner_value(static_cast<size_t>(plan.winner_elements)),
      features(static_cast<size_t>(plan.input_elements)),
      winner_index(static_cast<size_t>(plan.winner_elements)),
      position_begin(static_cast<size_t>(plan.begin_elements)),
      arena_i8(static_cast<size_t>(plan.i8 ? plan.i8->arena_bytes() : 0)) {
  for (int i = 0; i < 2; ++i) {
    chain[i] = AlignedBuffer<float>(static_cast<size_t>(plan.chain_floats));
    block[i] = AlignedBuffer<float>(static_cast<size_t>(plan.block_floats));
  }
}

void Execute(const Plan& plan, const float* x_bi, int64_t count, float* y_bo, Workspace& workspace,
             Parallel* parallel) {
  if (plan.i8) {
    for (int64_t b = 0; b < count; ++b) {
      ExecuteI8(*plan.i8, x_bi + b * plan.input_elements, y_bo + b * plan.output_elements,
                workspace.arena_i8.data(), parallel);
    }
    return;
  }
  RunSegments(plan, x_bi, count, y_bo, workspace, parallel, [](size_t, const Activation&) {});
}

void ExecuteProfiled(const Plan& plan, const float* x_i, float* y_o, Workspace& workspace,
                     std::span<int64_t> layer_ns) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  const auto add_time = [&](size_t i, const auto&) {
    const Clock::time_point end = Clock::now();
    layer_ns[i] += std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
    begin = end;
  };
  if (plan.i8) {
    return ExecuteI8(*plan.i8, x_i, y_o, workspace.arena_i8.data(), nullptr, add_time);
  }
  RunSegments(plan, x_i, 1, y_o, workspace, nullptr, add_time);
}

void ExecuteTraced(const Plan& plan, const float* x_i, float* y_o, Workspace& workspace,
                   const TraceCallback& callback) {
  std::vector<float> map;
  if (plan.i8) {
    float scale = plan.i8->input_scale;
    int32_t zero = plan.i8->input_zero;
    bool logits = false;
    const auto real_map = [&](size_t i, const uint8_t* q) {
      const packed::Layer& layer = *plan.i8->steps[i].layer;
      const auto elements = static_cast<size_t>(layer.output.elements());
      if (layer.HasWeights()) {
        scale = layer.output_scale;
        zero = 0;
        logits = layer.shift_o.empty();
      }
      if (logits) return callback(i, {y_o, elements});
      map.resize(elements);
      for (size_t e = 0; e < elements; ++e) {
        map[e] = scale * static_cast<float>(int32_t{q[e]} - zero);
      }
      callback(i, map);
    };
    return ExecuteI8(*plan.i8, x_i, y_o, workspace.arena_i8.data(), nullptr, real_map,
                     /*maps=*/true);
  }
  RunSegments(plan, x_i, 1, y_o, workspace, nullptr, [&](size_t i, const Activation& x) {
    const int64_t elements = plan.steps[i].output.elements();
    if (x.map != nullptr) return callback(i, {x.map, static_cast<size_t>(elements)});
    map.resize(static_cast<size_t>(elements));
    kernels::ScatterWinnersF32(x.winners.index_k, x.winners.value_k, x.winners.count, map.data(),
                               elements);
    callback(i, map);
  });
}

}  // namespace bisparse
