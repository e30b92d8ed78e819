// SPDX-License-Identifier: Apache-2.0
// Read first: op.h.
#include "deploy/ops/pool/op.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"

namespace bisparse::packed {
namespace {

void Check(const LayerCheck& check) {
  check.CheckWindow(check.layer.input.channels, /*pool=*/true);
  check.CheckNoWeights();
}

Size CountWork(const Layer& layer) {
  return WorkOf(layer, Size(std::min(layer.window.kernel_h, layer.input.height)) *
                           std::min(layer.window.kernel_w, layer.input.width));
}

/// Calls visit(element, y, x, c) for each output element and each tap of its window that lies inside of the input.
template <class Visit>
void ForEachTap(const Layer& layer, const Visit& visit) {
  const Window& w = layer.window;
  size_t element = 0;
  for (int64_t yo = 0; yo < layer.output.height; ++yo) {
    for (int64_t xo = 0; xo < layer.output.width; ++xo) {
      for (int64_t c = 0; c < layer.output.channels; ++c, ++element) {
        for (int64_t y = yo * w.stride_h - w.pad_h, ky = 0; ky < w.kernel_h; ++ky, ++y) {
          for (int64_t x = xo * w.stride_w - w.pad_w, kx = 0; kx < w.kernel_w; ++kx, ++x) {
            if (y < 0 || y >= layer.input.height || x < 0 || x >= layer.input.width) continue;
            visit(element, y, x, c);
          }
        }
      }
    }
  }
}

template <class T>
void RunMax(const Layer& layer, const Map<T>& in, std::span<T> out) {
  using Limits = std::numeric_limits<T>;
  std::fill(out.begin(), out.end(), Limits::has_infinity ? -Limits::infinity() : Limits::lowest());
  ForEachTap(layer, [&](size_t element, int64_t y, int64_t x, int64_t c) {
    out[element] = std::max(out[element], in.x[in.Index(y, x, c)]);
  });
}

void RunMaxF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
               double&) {
  RunMax(layer, inputs[0], out);
}

void RunMaxI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  RunMax(layer, inputs[0], out);
}

void RunAvgF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
               double&) {
  std::vector<double> sums(out.size()), counts(out.size());
  ForEachTap(layer, [&](size_t element, int64_t y, int64_t x, int64_t c) {
    sums[element] += inputs[0].x[inputs[0].Index(y, x, c)];
    counts[element] += 1;
  });
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sums[i] / counts[i]);
}

/// The mean of the steps, half a step up.
void RunAvgI8(const Layer& layer, std::span<const Map<int32_t>> inputs, std::span<int32_t> out) {
  std::vector<int64_t> sums(out.size()), counts(out.size());
  ForEachTap(layer, [&](size_t element, int64_t y, int64_t x, int64_t c) {
    sums[element] += inputs[0].x[inputs[0].Index(y, x, c)];
    counts[element] += 1;
  });
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<int32_t>((2 * sums[i] + counts[i]) / (2 * counts[i]));
  }
}

}  // namespace

const Operator kMaxPoolOperator = {.kind = LayerKind::kMaxPool,
                                   .name = "max_pool",
                                   .has_window = true,
                                   .keeps_order = true,
                                   .check = Check,
                                   .work = CountWork,
                                   .run_f32 = RunMaxF32,
                                   .run_i8 = RunMaxI8};
const Operator kAvgPoolOperator = {.kind = LayerKind::kAvgPool,
                                   .name = "avg_pool",
                                   .has_window = true,
                                   .check = Check,
                                   .work = CountWork,
                                   .run_f32 = RunAvgF32,
                                   .run_i8 = RunAvgI8};

}  // namespace bisparse::packed
