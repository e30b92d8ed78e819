// SPDX-License-Identifier: Apache-2.0
// Read first: reference.h. Tested in: engine_test.cc, reference_test.cc.
#include "deploy/engine/reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/packed/pack.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

size_t Index(const Shape& s, int64_t y, int64_t x, int64_t c) {
  return static_cast<size_t>((y * s.width + x) * s.channels + c);
}

/// Which channel output o reads at position p.
int64_t InputChannel(const Layer& layer, int64_t p, int64_t o) {
  if (layer.kind == LayerKind::kDepthwiseConv2d) return o;
  if (layer.kind == LayerKind::kLinear) return p;
  return p / layer.window.kernel_w / layer.window.kernel_h;
}

void RunConv(const Layer& layer, const std::vector<float>& in, std::vector<float>& out,
             double& largest) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_op = packed::Unpack(layout, layer.weight_pnl, layer.owner_nr);
  const packed::Window& w = layer.window;
  for (int64_t yo = 0; yo < layer.output.height; ++yo) {
    for (int64_t xo = 0; xo < layer.output.width; ++xo) {
      for (int64_t o = 0; o < layer.output.channels; ++o) {
        double sum = layer.bias_o[static_cast<size_t>(o)], magnitude = std::abs(sum);
        for (int64_t p = 0; p < layout.positions; ++p) {
          const int64_t kx = p % w.kernel_w, ky = p / w.kernel_w % w.kernel_h;
          const int64_t c = InputChannel(layer, p, o);
          const int64_t y = yo * w.stride_h + ky - w.pad_h, x = xo * w.stride_w + kx - w.pad_w;
          if (y < 0 || y >= layer.input.height || x < 0 || x >= layer.input.width) continue;
          const double product = double{in[Index(layer.input, y, x, c)]} *
                                 double{weight_op[static_cast<size_t>(o * layout.positions + p)]};
          sum += product;
          magnitude += std::abs(product);
        }
        out[Index(layer.output, yo, xo, o)] = static_cast<float>(sum);
        largest = std::max(largest, magnitude);
      }
    }
  }
}

void RunLinear(const Layer& layer, const std::vector<float>& in, std::vector<float>& out,
               double& largest) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_op = packed::Unpack(layout, layer.weight_pnl, layer.owner_nr);
  for (size_t o = 0; o < out.size(); ++o) {
    double sum = layer.bias_o[o], magnitude = std::abs(sum);
    for (size_t p = 0; p < in.size(); ++p) {
      const double product = double{in[p]} * double{weight_op[o * in.size() + p]};
      sum += product;
      magnitude += std::abs(product);
    }
    out[o] = static_cast<float>(sum);
    largest = std::max(largest, magnitude);
  }
}

/// T = float or, exact in double, int32_t.
template <class T>
void RunPool(const Layer& layer, const std::vector<T>& in, std::vector<T>& out) {
  const packed::Window& w = layer.window;
  for (int64_t yo = 0; yo < layer.output.height; ++yo) {
    for (int64_t xo = 0; xo < layer.output.width; ++xo) {
      for (int64_t c = 0; c < layer.output.channels; ++c) {
        double most = -INFINITY, sum = 0, count = 0;
        for (int64_t y = yo * w.stride_h - w.pad_h, ky = 0; ky < w.kernel_h; ++ky, ++y) {
          for (int64_t x = xo * w.stride_w - w.pad_w, kx = 0; kx < w.kernel_w; ++kx, ++x) {
            if (y < 0 || y >= layer.input.height || x < 0 || x >= layer.input.width) continue;
            const double value = in[Index(layer.input, y, x, c)];
            most = std::max(most, value);
            sum += value;
            count += 1;
          }
        }
        double average = sum / count;
        if (std::is_integral_v<T>) average = std::floor((2 * sum + count) / (2 * count));
        out[Index(layer.output, yo, xo, c)] =
            static_cast<T>(layer.kind == LayerKind::kMaxPool ? most : average);
      }
    }
  }
}

/// Units of one group, of one position or of all: the first winners of a stable sort survive.
template <class T>
void KeepWinners(const Layer& layer, const std::vector<T>& in, int64_t first_position,
                 int64_t positions, int64_t group, std::vector<T>& out) {
  const packed::Kwta& k = layer.kwta;
  const int64_t channels = layer.input.channels, width = channels / k.groups;
  std::vector<int64_t> units;  // the index of each unit's first element, ascending
  for (int64_t q = first_position; q < first_position + positions; ++q) {
    for (int64_t c = 0; c < width; c += k.chunk) units.push_back(q * channels + group * width + c);
  }
  const auto rank = [&](int64_t unit) {
    T sum = 0;
    for (int64_t i = unit; i < unit + k.chunk; ++i)
      sum += std::max(in[static_cast<size_t>(i)], T{0});
    return sum;
  };
  std::stable_sort(units.begin(), units.end(),
                   [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  units.resize(static_cast<size_t>(k.winners / k.groups));
  for (int64_t unit : units) {
    for (int64_t i = unit; i < unit + k.chunk; ++i) {
      out[static_cast<size_t>(i)] = std::max(in[static_cast<size_t>(i)], T{0});
    }
  }
}

template <class T>
void RunKwta(const Layer& layer, const std::vector<T>& in, std::vector<T>& out) {
  const int64_t positions = int64_t{layer.input.height} * layer.input.width;
  const bool global = layer.kwta.scope == packed::KwtaScope::kGlobal;
  for (int64_t group = 0; group < layer.kwta.groups; ++group) {
    if (global) KeepWinners(layer, in, 0, positions, group, out);
    for (int64_t q = 0; !global && q < positions; ++q) KeepWinners(layer, in, q, 1, group, out);
  }
}

int32_t QuantiseInput(const packed::Model& model, float x) {
  const float t = x * (1.0f / model.input_scale);
  const auto low = static_cast<float>(-model.input_zero), high = low + 255.0f;
  if (!(t > low)) return 0;  // NaN too
  return static_cast<int32_t>(std::rint(std::min(t, high))) + model.input_zero;
}

/// bias + Σ weight·in of every output, channels last; `padding` is what lies around the map. A
/// linear layer is a convolution of a map of one position.
std::vector<int64_t> SumsI8(const Layer& layer, const std::vector<int32_t>& in, int64_t padding) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_pnl(layer.weight_i8_pnl.begin(), layer.weight_i8_pnl.end());
  const std::vector<float> weight_op = packed::Unpack(layout, weight_pnl, layer.owner_nr);
  const Shape input{
      layer.kind == LayerKind::kLinear ? 1 : layer.input.height,
      layer.kind == LayerKind::kLinear ? 1 : layer.input.width,
      layer.kind == LayerKind::kLinear ? layout.shape.channels : layer.input.channels};
  const packed::Window w = layer.kind == LayerKind::kLinear ? packed::Window{} : layer.window;
  std::vector<int64_t> sums(static_cast<size_t>(layer.output.elements()));
  for (int64_t yo = 0; yo < layer.output.height; ++yo) {
    for (int64_t xo = 0; xo < layer.output.width; ++xo) {
      for (int64_t o = 0; o < layer.output.channels; ++o) {
        int64_t sum = layer.bias_i32_o[static_cast<size_t>(o)];
        for (int64_t p = 0; p < layout.positions; ++p) {
          const int64_t kx = p % w.kernel_w, ky = p / w.kernel_w % w.kernel_h;
          const int64_t c = InputChannel(layer, p, o);
          const int64_t y = yo * w.stride_h + ky - w.pad_h, x = xo * w.stride_w + kx - w.pad_w;
          const bool inside = y >= 0 && y < input.height && x >= 0 && x < input.width;
          sum += static_cast<int64_t>(weight_op[static_cast<size_t>(o * layout.positions + p)]) *
                 (inside ? in[Index(input, y, x, c)] : padding);
        }
        sums[Index(layer.output, yo, xo, o)] = sum;
      }
    }
  }
  return sums;
}

int32_t Requantise(int64_t sum, int32_t shift) {
  const int64_t rounding = shift == 0 ? 0 : int64_t{1} << (shift - 1);
  return static_cast<int32_t>(std::clamp<int64_t>((sum + rounding) >> shift, 0, 255));
}

}  // namespace

ReferenceRun RunReference(const packed::Model& model, std::span<const float> features) {
  ReferenceRun run;
  std::vector<float> in(features.begin(), features.end());
  for (const Layer& layer : model.layers) {
    std::vector<float> out(static_cast<size_t>(layer.output.elements()));
    switch (layer.kind) {
      case LayerKind::kConv2d:
      case LayerKind::kDepthwiseConv2d:
        RunConv(layer, in, out, run.largest_magnitude);
        break;
      case LayerKind::kLinear:
        RunLinear(layer, in, out, run.largest_magnitude);
        break;
      case LayerKind::kAffine:
        for (size_t i = 0; i < in.size(); ++i) {
          out[i] = packed::AffineAt(layer, i, in[i]);
        }
        break;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        RunPool(layer, in, out);
        break;
      case LayerKind::kRelu:
        for (size_t i = 0; i < in.size(); ++i) out[i] = std::max(in[i], 0.0f);
        break;
      case LayerKind::kKwta:
        RunKwta(layer, in, out);
        break;
      case LayerKind::kFlatten:
        out = in;
        break;
      case LayerKind::kAdd:
      case LayerKind::kMultiply:
      case LayerKind::kConcat:
        BISPARSE_CHECK(false);  // ValidateModel refuses them
    }
    run.layer_output.push_back(out);
    in = std::move(out);
  }
  return run;
}

ReferenceRunI8 RunReferenceI8(const packed::Model& model, std::span<const float> features) {
  ReferenceRunI8 run;
  const Layer* const affine = packed::InputAffine(model);
  for (size_t i = 0; i < features.size(); ++i) {
    const float x = affine != nullptr ? packed::AffineAt(*affine, i, features[i]) : features[i];
    run.input.push_back(QuantiseInput(model, x));
  }
  std::vector<int32_t> in = run.input;
  int64_t padding = model.input_zero;  // of the first layer with weights
  std::span<const float> scale_o;      // of the last one
  for (const Layer& layer : model.layers) {
    std::vector<int32_t> out(static_cast<size_t>(layer.output.elements()));
    switch (layer.kind) {
      case LayerKind::kConv2d:
      case LayerKind::kDepthwiseConv2d:
      case LayerKind::kLinear: {
        const std::vector<int64_t> sums = SumsI8(layer, in, padding);
        padding = 0;
        scale_o = layer.scale_o.first(layer.scale_o.empty() ? 0 : layer.output.channels);
        for (size_t i = 0; i < sums.size(); ++i) {
          const size_t o = i % static_cast<size_t>(layer.output.channels);
          out[i] = scale_o.empty() ? Requantise(sums[i], layer.shift_o[o])
                                   : static_cast<int32_t>(sums[i]);
        }
        break;
      }
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        RunPool(layer, in, out);
        break;
      case LayerKind::kKwta:
        RunKwta(layer, in, out);
        break;
      case LayerKind::kAffine:  // the first layer: in the input already
      case LayerKind::kRelu:
      case LayerKind::kFlatten:
        out = in;
        break;
      case LayerKind::kAdd:
      case LayerKind::kMultiply:
      case LayerKind::kConcat:
        BISPARSE_CHECK(false);  // ValidateModel refuses them
    }
    run.layer_output.push_back(out);
    in = std::move(out);
  }
  for (size_t i = 0; i < in.size(); ++i) {
    run.logits.push_back(static_cast<float>(in[i]) * scale_o[i % scale_o.size()]);
  }
  return run;
}

}  // namespace bisparse
