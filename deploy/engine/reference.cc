// SPDX-License-Identifier: Apache-2.0
// Read first: reference.h. Tested in: engine_test.cc.
#include "deploy/engine/reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "deploy/packed/pack.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

size_t Index(const Shape& s, int64_t y, int64_t x, int64_t c) {
  return static_cast<size_t>((y * s.width + x) * s.channels + c);
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
          const int64_t c = p / w.kernel_w / w.kernel_h;
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

void RunPool(const Layer& layer, const std::vector<float>& in, std::vector<float>& out) {
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
        out[Index(layer.output, yo, xo, c)] =
            static_cast<float>(layer.kind == LayerKind::kMaxPool ? most : sum / count);
      }
    }
  }
}

/// Units of one group, of one position or of all: the first winners of a stable sort survive.
void KeepWinners(const Layer& layer, const std::vector<float>& in, int64_t first_position,
                 int64_t positions, int64_t group, std::vector<float>& out) {
  const packed::Kwta& k = layer.kwta;
  const int64_t channels = layer.input.channels, width = channels / k.groups;
  std::vector<int64_t> units;  // the index of each unit's first element, ascending
  for (int64_t q = first_position; q < first_position + positions; ++q) {
    for (int64_t c = 0; c < width; c += k.chunk) units.push_back(q * channels + group * width + c);
  }
  const auto rank = [&](int64_t unit) {
    float sum = 0;
    for (int64_t i = unit; i < unit + k.chunk; ++i)
      sum += std::max(in[static_cast<size_t>(i)], 0.0f);
    return sum;
  };
  std::stable_sort(units.begin(), units.end(),
                   [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  units.resize(static_cast<size_t>(k.winners / k.groups));
  for (int64_t unit : units) {
    for (int64_t i = unit; i < unit + k.chunk; ++i) {
      out[static_cast<size_t>(i)] = std::max(in[static_cast<size_t>(i)], 0.0f);
    }
  }
}

void RunKwta(const Layer& layer, const std::vector<float>& in, std::vector<float>& out) {
  const int64_t positions = int64_t{layer.input.height} * layer.input.width;
  const bool global = layer.kwta.scope == packed::KwtaScope::kGlobal;
  for (int64_t group = 0; group < layer.kwta.groups; ++group) {
    if (global) KeepWinners(layer, in, 0, positions, group, out);
    for (int64_t q = 0; !global && q < positions; ++q) KeepWinners(layer, in, q, 1, group, out);
  }
}

}  // namespace

ReferenceRun RunReference(const packed::Model& model, std::span<const float> features) {
  ReferenceRun run;
  std::vector<float> in(features.begin(), features.end());
  for (const Layer& layer : model.layers) {
    std::vector<float> out(static_cast<size_t>(layer.output.elements()));
    switch (layer.kind) {
      case LayerKind::kConv2d:
        RunConv(layer, in, out, run.largest_magnitude);
        break;
      case LayerKind::kLinear:
        RunLinear(layer, in, out, run.largest_magnitude);
        break;
      case LayerKind::kAffine:
        for (size_t i = 0; i < in.size(); ++i) {
          const size_t c = i % layer.weight_pnl.size();
          out[i] = static_cast<float>(double{in[i]} * double{layer.weight_pnl[c]} +
                                      double{layer.bias_o[c]});
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
    }
    run.layer_output.push_back(out);
    in = std::move(out);
  }
  return run;
}

}  // namespace bisparse
