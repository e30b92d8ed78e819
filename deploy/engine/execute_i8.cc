// SPDX-License-Identifier: Apache-2.0
// Calls the kernels that an int8 plan chose. Read first: plan_i8.h.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "deploy/engine/parallel.h"
#include "deploy/engine/plan_i8.h"
#include "deploy/ops/shared/matmul_i8.h"

namespace bisparse {
namespace {

struct Arena {
  uint8_t* map[2];
  uint8_t* scratch;
  int32_t* acc;
  int32_t* index_k;
  uint8_t* value_k;
  int64_t scratch_bytes, acc_bytes;  ///< of each slot
  /// Of 16-bit units of conv_quads_i8, in the place of index_k.
  uint16_t* line_k() const { return reinterpret_cast<uint16_t*>(index_k); }
};

Arena CutArena(const PlanI8& plan, uint8_t* bytes) {
  uint8_t* scratch = bytes + 2 * plan.map_bytes;
  uint8_t* acc = scratch + plan.slots * plan.scratch_bytes;
  uint8_t* index = acc + plan.slots * plan.acc_bytes;
  return {{bytes, bytes + plan.map_bytes},
          scratch,
          reinterpret_cast<int32_t*>(acc),
          reinterpret_cast<int32_t*>(index),
          index + 4 * plan.winner_elements,
          plan.scratch_bytes,
          plan.acc_bytes};
}

/// Sums of positions [begin, end), `stride` numbers apart, to what the next layer reads, or to logits.
void Finish(const StepI8& step, const int32_t* acc, int64_t stride, int64_t begin, int64_t end,
            uint8_t* y, float* logits) {
  const int64_t channels = step.layer->output.channels;
  if (step.layer->shift_o.empty()) {
    for (int64_t p = begin; p < end; ++p, acc += stride) {
      kernels::LogitsI8(acc, channels, step.layer->scale_o.data(), logits + p * channels);
    }
  } else {
    kernels::RequantiseI8(acc, end - begin, stride, channels, step.shift_o.data(),
                          y + begin * channels);
  }
}

/// Output positions [first, last).
void RunConvDense(const StepI8& step, const uint8_t* x, int64_t first, int64_t last, uint8_t* y,
                  float* logits, uint8_t* scratch, int32_t* acc) {
  const packed::Layer& layer = *step.layer;
  // A position of a 1×1 convolution is its own window.
  const bool in_place = layer.window == packed::Window{} && layer.input.channels == step.depth;
  for (int64_t begin = first; begin < last; begin += step.rows) {
    const int64_t end = std::min(last, begin + step.rows);
    if (!in_place) {
      kernels::Im2RowI8(layer.input, layer.window, layer.output.width, x, step.zero, begin, end,
                        step.depth, scratch);
    }
    kernels::MatMulI8({.rows = end - begin,
                       .depth = step.depth,
                       .outputs = step.outputs,
                       .x = in_place ? x + begin * step.depth : scratch,
                       .x_stride = step.depth,
                       .weight = step.weight.data(),
                       .narrow = step.narrow,
                       .bias_o = step.bias_o.data(),
                       .acc = acc});
    Finish(step, acc, step.outputs, begin, end, y, logits);
  }
}

void RunDepthwise(const StepI8& step, const uint8_t* x, uint8_t* y, float* logits,
                  const Arena& arena) {
  if (step.columns) {
    kernels::DepthwiseColumnsI8Run(
        {.conv = &*step.columns, .x_yxc = x, .y_yxc = y, .scratch = arena.scratch});
    return;
  }
  const packed::Layer& layer = *step.layer;
  const int64_t width = layer.output.width;
  for (int64_t row = 0; row < layer.output.height; ++row) {
    kernels::DepthwiseI8({.shape = step.pool,
                          .x_yxc = x,
                          .zero = step.zero,
                          .weight_pc = layer.weight_i8_pnl.data(),
                          .weight_stride = step.outputs,
                          .bias_c = step.bias_o.data(),
                          .row = row,
                          .acc = arena.acc});
    Finish(step, arena.acc, layer.output.channels, row * width, (row + 1) * width, y, logits);
  }
}

void RunConvQuads(const StepI8& step, const uint8_t* x, uint8_t* y, const Arena& arena,
                  Parallel* parallel) {
  kernels::ConvQuadsI8Args args{.conv = &*step.quads,
                                .index_k = step.reads_winners ? arena.index_k : nullptr,
                                .line_k = step.reads_lines ? arena.line_k() : nullptr,
                                .value_k = step.reads_winners ? arena.value_k : x,
                                .output = y,
                                .scratch = arena.scratch};
  kernels::ConvQuadsI8FindLines(args);
  SplitOver(parallel, step.parallel, step.layer->output.channels, step.quads->grain(),
            [&](int64_t begin, int64_t end, int slot) {
              kernels::ConvQuadsI8Args part = args;
              part.rows = arena.scratch + slot * arena.scratch_bytes + step.quads->rows_begin();
              part.output_begin = static_cast<int32_t>(begin);
              part.output_end = static_cast<int32_t>(end);
              kernels::ConvQuadsI8Run(part);
            });
}

void RunLinear(const StepI8& step, const uint8_t* x, int64_t winner_count, uint8_t* y,
               float* logits, const Arena& arena, Parallel* parallel) {
  const packed::Layer& layer = *step.layer;
  if (step.kernel == StepKernelI8::kLinearDense) {
    const int64_t inputs = layer.input.elements();
    std::copy_n(x, inputs, arena.scratch);
    std::fill(arena.scratch + inputs, arena.scratch + step.depth, uint8_t{0});
    SplitOver(parallel, step.parallel, step.outputs, 64, [&](int64_t begin, int64_t end, int) {
      kernels::MatMulI8({.rows = 1,
                         .depth = step.depth,
                         .outputs = step.outputs,
                         .x = arena.scratch,
                         .x_stride = step.depth,
                         .weight = step.weight.data(),
                         .narrow = step.narrow,
                         .bias_o = step.bias_o.data(),
                         .acc = arena.acc,
                         .output_begin = begin,
                         .output_end = end});
    });
  } else {
    kernels::LinearWinnersI8(
        {.set_size = step.owner_pn.empty() ? 1 : layer.packing.set_size,
         .lanes = step.lanes,
         .sets = step.sets,
         .weight_pnl = step.owner_pn.empty() ? step.weight.data() : layer.weight_i8_pnl.data(),
         .bias_o = step.bias_o.data(),
         .owner_pn = step.owner_pn.empty() ? nullptr : step.owner_pn.data(),
         .index_k = step.reads_winners ? arena.index_k : nullptr,
         .value_k = step.reads_winners ? arena.value_k : x,
         .count = step.reads_winners ? winner_count : layer.input.elements(),
         .acc = arena.acc});
  }
  Finish(step, arena.acc, step.outputs, 0, 1, y, logits);
}

void QuantiseInput(const PlanI8& plan, const float* x_i, uint8_t* q_i) {
  const int64_t elements = plan.steps.front().layer->input.elements();
  if (plan.input_affine == nullptr) {
    return kernels::QuantiseI8(x_i, elements, plan.input_scale, plan.input_zero, q_i);
  }
  std::array<float, 256> block;
  for (int64_t begin = 0; begin < elements; begin += std::ssize(block)) {
    const int64_t count = std::min(std::ssize(block), elements - begin);
    for (int64_t i = 0; i < count; ++i) {
      block[i] =
          packed::AffineAt(*plan.input_affine, static_cast<size_t>(begin + i), x_i[begin + i]);
    }
    kernels::QuantiseI8(block.data(), count, plan.input_scale, plan.input_zero, q_i + begin);
  }
}

}  // namespace

void ExecuteI8(const PlanI8& plan, const float* x_i, float* y_o, uint8_t* bytes, Parallel* parallel,
               const AfterStepI8& after, bool maps) {
  const Arena arena = CutArena(plan, bytes);
  int from = 0;
  int64_t winner_count = 0;
  QuantiseInput(plan, x_i, arena.map[0]);
  std::vector<uint8_t> scattered;
  bool list = false;  // the map is a list of winners, until a step makes a map again
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const StepI8& step = plan.steps[i];
    const uint8_t* x = arena.map[from];
    uint8_t* y = arena.map[1 - from];
    bool moved = true;
    switch (step.done_by_other ? StepKernelI8::kNone : step.kernel) {
      case StepKernelI8::kNone:
        moved = false;
        break;
      case StepKernelI8::kConvDense:
        SplitOver(
            parallel, step.parallel, int64_t{step.layer->output.height} * step.layer->output.width,
            step.rows, [&](int64_t begin, int64_t end, int slot) {
              RunConvDense(step, x, begin, end, y, y_o, arena.scratch + slot * arena.scratch_bytes,
                           arena.acc + slot * (arena.acc_bytes / 4));
            });
        break;
      case StepKernelI8::kDepthwise:
        RunDepthwise(step, x, y, y_o, arena);
        break;
      case StepKernelI8::kConvTaps:
        kernels::ConvTapsI8Run({.conv = &*step.taps,
                                .input = x,
                                .output = y,
                                .value_k = step.emits_winners ? arena.value_k : nullptr,
                                .index_k = arena.index_k,
                                .line_k = step.line_step != 0 ? arena.line_k() : nullptr,
                                .line_step = step.line_step,
                                .scratch = arena.scratch});
        moved = !step.emits_winners;
        winner_count = step.winner_count;
        break;
      case StepKernelI8::kConvQuads:
        RunConvQuads(step, x, y, arena, parallel);
        break;
      case StepKernelI8::kLinearDense:
      case StepKernelI8::kLinearPacked:
        RunLinear(step, x, winner_count, y, y_o, arena, parallel);
        break;
      case StepKernelI8::kMaxPool:
        kernels::MaxPoolU8(step.pool, x, y);
        break;
      case StepKernelI8::kAvgPool:
        kernels::AvgPoolU8(step.pool, x, y);
        break;
      case StepKernelI8::kKwta: {
        kernels::KwtaU8Args args = step.kwta;
        args.x = x;
        args.index_k = arena.index_k;
        args.value_k = arena.value_k;
        kernels::KwtaU8(args);
        winner_count = step.winner_count;
        moved = !step.emits_winners;
        if (moved) {
          kernels::ScatterWinnersU8(args.index_k, args.value_k, winner_count, y,
                                    step.layer->output.elements());
        }
        break;
      }
    }
    if (moved) from = 1 - from;
    if (moved || step.emits_winners) list = !moved;
    if (!after) continue;
    if (maps && step.emits_winners) {
      scattered.resize(static_cast<size_t>(step.layer->output.elements()));
      kernels::ScatterWinnersU8(arena.index_k, arena.value_k, winner_count, scattered.data(),
                                step.layer->output.elements());
    }
    after(i, !maps ? nullptr : list ? scattered.data() : arena.map[from]);
  }
}

}  // namespace bisparse
