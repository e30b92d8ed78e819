// SPDX-License-Identifier: Apache-2.0
// Read first: weights.h.
#include "deploy/ops/shared/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "deploy/packed/layer_check.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/pack.h"

namespace bisparse::packed {
namespace {

constexpr float kMaxLogitScale = 0x1p96f;  // times a sum of 2^31: a float
constexpr int32_t kMaxShift = 30;          // 2^(shift − 1) and what it is added to fit 32 bits

// Engines compute with whole registers: what lies past the last kernel must add nothing.
template <typename Weight, typename Bias>
void CheckPadding(const LayerCheck& check, const Layout& layout, const char* weight_name,
                  std::span<const Weight> weight_pnl, const char* bias_name,
                  std::span<const Bias> bias_o) {
  for (int64_t o = layout.shape.outputs; o < layout.outputs_padded(); ++o) {
    const auto at = static_cast<size_t>(o);
    if (bias_o[at] != 0) {
      check.Refuse("{}[{}] is {}, outside of the {} outputs it must be 0", bias_name, o, bias_o[at],
                   layout.shape.outputs);
    }
  }
  if (layout.shape.outputs == layout.outputs_padded()) return;
  const int32_t n = layout.sets - 1;  // the only set with padding
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int32_t s = layout.Owner(check.layer.owner_nr, n, p);
    for (int32_t l = 0; l < layout.packing.lanes; ++l) {
      const Weight weight = weight_pnl[static_cast<size_t>(layout.Slot(p, n, l))];
      if (layout.Output(n, s, l) < layout.shape.outputs || weight == 0) continue;
      check.Refuse(
          "{} at position {}, set {}, lane {} is {}, outside of the {} outputs it must be 0",
          weight_name, p, n, l, weight, layout.shape.outputs);
    }
  }
}

/// Σ |weight| of each output; Sum holds `positions` times 127.
template <class Sum>
std::vector<Sum> Magnitudes(const Layer& layer, const Layout& layout) {
  std::vector<Sum> magnitude_o(static_cast<size_t>(layout.outputs_padded()));
  layout.ForEachRow(layer.owner_nr, [&](int64_t, int32_t, int64_t o, int64_t slot) {
    const int8_t* weight_l = layer.weight_i8_pnl.data() + slot;
    Sum* sum_l = magnitude_o.data() + o;
    for (int32_t l = 0; l < layout.packing.lanes; ++l) sum_l[l] += std::abs(weight_l[l]);
  });
  return magnitude_o;
}

// In whatever order a kernel adds, with every activation 255, no sum leaves 32 bits. Padding is known to be 0.
template <class Sum>
void CheckSums(const LayerCheck& check, const Layout& layout) {
  const Layer& layer = check.layer;
  const std::vector<Sum> magnitude_o = Magnitudes<Sum>(layer, layout);
  for (size_t o = 0; o < magnitude_o.size(); ++o) {
    int64_t sum = int64_t{255} * magnitude_o[o] + std::abs(int64_t{layer.bias_i32_o[o]});
    if (!check.logits) {
      const int32_t shift = layer.shift_o[o];
      if (shift > 0) sum += int64_t{1} << (shift - 1);
      sum += int64_t{layer.output_zero} << shift;
    }
    if (sum > std::numeric_limits<int32_t>::max()) {
      check.Refuse(
          "output {}: 255 x the sum of |weight_i8_pnl| + |bias_i32_o| + rounding{} = {} does not "
          "fit 32 bits",
          o, layer.output_zero > 0 ? " + output_zero x 2^shift" : "", sum);
    }
  }
}

void CheckI8(const LayerCheck& check, const Layout& layout) {
  const Layer& layer = check.layer;
  check.CheckNoF32();
  check.CheckNoShifts();
  check.CheckSize("weight_i8_pnl", layer.weight_i8_pnl, layout.slots());
  check.CheckSize("bias_i32_o", layer.bias_i32_o, layout.outputs_padded());
  check.CheckSize("shift_o", layer.shift_o, check.logits ? 0 : layout.outputs_padded());
  check.CheckSize("scale_o", layer.scale_o, check.logits ? layout.outputs_padded() : 0);
  const std::span<const int8_t> weights = layer.weight_i8_pnl;
  if (const void* at = std::memchr(weights.data(), 0x80, weights.size())) {
    check.Refuse("weight_i8_pnl[{}] is -128, not in [-127, 127]",
                 static_cast<const int8_t*>(at) - weights.data());
  }
  for (size_t o = 0; o < layer.shift_o.size(); ++o) {
    if (layer.shift_o[o] > kMaxShift) {
      check.Refuse("shift_o[{}] is {}, not in [0, {}]", o, layer.shift_o[o], kMaxShift);
    }
  }
  for (size_t o = 0; o < layer.scale_o.size(); ++o) {
    if (!IsScale(layer.scale_o[o])) {
      check.Refuse("scale_o[{}] is {}, not a finite number above 0", o, layer.scale_o[o]);
    }
    if (layer.scale_o[o] > kMaxLogitScale) {
      check.Refuse("scale_o[{}] is {}, at most {} keeps every logit finite", o, layer.scale_o[o],
                   kMaxLogitScale);
    }
  }
  if (check.logits) {
    if (layer.output_scale != 0.0f) {
      check.Refuse("output_scale = {}, 0 expected: logits are floats", layer.output_scale);
    }
    check.CheckRange("output_zero", layer.output_zero, 0, 0);
  } else {
    if (!IsScale(layer.output_scale)) {
      check.Refuse("output_scale = {} is not a finite number above 0", layer.output_scale);
    }
    check.CheckOutputZero(/*negative=*/true);
  }
  CheckPadding(check, layout, "weight_i8_pnl", layer.weight_i8_pnl, "bias_i32_o", layer.bias_i32_o);
  layout.positions <= 1 << 24 ? CheckSums<int32_t>(check, layout)
                              : CheckSums<int64_t>(check, layout);
}

/// Calls visit(element, i, in): output `element` adds the weight at [i] of the row-major [O][P] weights
/// times the input's element `in`, which is −1 in the padding. For each output p ascends.
template <class Visit>
void ForEachProduct(const Layer& layer, const Layout& layout, const Visit& visit) {
  const bool linear = layer.kind == LayerKind::kLinear;  // a convolution of a map of one position
  const Shape in = linear ? Shape{1, 1, layout.shape.channels} : layer.input;
  const Window w = linear ? Window{} : layer.window;
  int64_t element = 0;
  for (int64_t yo = 0; yo < layer.output.height; ++yo) {
    for (int64_t xo = 0; xo < layer.output.width; ++xo) {
      for (int64_t o = 0; o < layer.output.channels; ++o, ++element) {
        for (int64_t p = 0; p < layout.positions; ++p) {
          const int64_t kx = p % w.kernel_w, ky = p / w.kernel_w % w.kernel_h;
          const int64_t c =
              layer.kind == LayerKind::kDepthwiseConv2d ? o : p / w.kernel_w / w.kernel_h;
          const int64_t y = yo * w.stride_h + ky * w.dilation_h - w.pad_h;
          const int64_t x = xo * w.stride_w + kx * w.dilation_w - w.pad_w;
          const bool inside = y >= 0 && y < in.height && x >= 0 && x < in.width;
          visit(static_cast<size_t>(element), static_cast<size_t>(o * layout.positions + p),
                inside ? (y * in.width + x) * in.channels + c : -1);
        }
      }
    }
  }
}

}  // namespace

void CheckWeights(const LayerCheck& check) {
  const Layer& layer = check.layer;
  const std::string fault = LayoutFault(layer.kernel(), layer.packing);
  if (!fault.empty()) check.Refuse("{}", fault);
  const Layout layout(layer.kernel(), layer.packing);
  ValidateOwners(layout, layer.owner_nr, check.location());
  if (check.format == NumberFormat::kI8) return CheckI8(check, layout);
  check.CheckNoI8();
  check.CheckFloats("weight_pnl", layer.weight_pnl, layout.slots());
  check.CheckFloats("bias_o", layer.bias_o, layout.outputs_padded());
  CheckPadding(check, layout, "weight_pnl", layer.weight_pnl, "bias_o", layer.bias_o);
}

Size WorkOfWeights(const Layer& layer) {
  const KernelShape kernel = layer.kernel();
  return WorkOf(layer, Size(kernel.channels) * kernel.kernel_h * kernel.kernel_w);
}

void RunWeightsF32(const Layer& layer, std::span<const Map<float>> inputs, std::span<float> out,
                   double& largest) {
  const Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_op = Unpack(layout, layer.weight_pnl, layer.owner_nr);
  const std::span<const float> x = inputs[0].x;
  std::vector<double> sums(out.size()), magnitudes(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    sums[i] = layer.bias_o[i % static_cast<size_t>(layer.output.channels)];
    magnitudes[i] = std::abs(sums[i]);
  }
  ForEachProduct(layer, layout, [&](size_t element, size_t i, int64_t in) {
    if (in < 0) return;
    const double product = double{x[static_cast<size_t>(in)]} * double{weight_op[i]};
    sums[element] += product;
    magnitudes[element] += std::abs(product);
  });
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(sums[i]);
    largest = std::max(largest, magnitudes[i]);
  }
}

void RunWeightsI8(const Layer& layer, std::span<const Map<int32_t>> inputs,
                  std::span<int32_t> out) {
  const Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_pnl(layer.weight_i8_pnl.begin(), layer.weight_i8_pnl.end());
  const std::vector<float> weight_op = Unpack(layout, weight_pnl, layer.owner_nr);
  const Map<int32_t>& map = inputs[0];
  std::vector<int64_t> sums(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    sums[i] = layer.bias_i32_o[i % static_cast<size_t>(layer.output.channels)];
  }
  ForEachProduct(layer, layout, [&](size_t element, size_t i, int64_t in) {
    const int64_t q = in < 0 ? map.zero : map.x[static_cast<size_t>(in)];
    sums[element] += static_cast<int64_t>(weight_op[i]) * q;
  });
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t o = i % static_cast<size_t>(layer.output.channels);
    out[i] = layer.shift_o.empty() ? static_cast<int32_t>(sums[i])
                                   : Requantised(sums[i], layer.shift_o[o], layer.output_zero);
  }
}

int32_t Requantised(int64_t value, int32_t shift, int32_t zero) {
  const int64_t rounding = shift == 0 ? 0 : int64_t{1} << (shift - 1);
  return static_cast<int32_t>(std::clamp<int64_t>(((value + rounding) >> shift) + zero, 0, 255));
}

}  // namespace bisparse::packed
