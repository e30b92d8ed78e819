// SPDX-License-Identifier: Apache-2.0
// Read first: float_bound.h.
#include "tests/golden/float_bound.h"

#include <algorithm>
#include <cmath>

#include "deploy/base/check.h"
#include "deploy/packed/pack.h"
#include "deploy/reference/reference.h"

namespace bisparse {
namespace {

using packed::Layer;
using packed::LayerKind;

constexpr double kEpsilon = 0x1p-23;

/// A map of the reference and the error of each element.
struct Map {
  std::vector<float> x;
  std::vector<double> e;
};

/// Calls visit(position, tap, input element's index of channel 0) for every tap inside the map.
template <typename Visit>
void ForEachTap(const Shape& in, const Shape& out, const packed::Window& w, const Visit& visit) {
  for (int64_t q = 0; q < int64_t{out.height} * out.width; ++q) {
    for (int64_t t = 0; t < int64_t{w.kernel_h} * w.kernel_w; ++t) {
      const int64_t y = q / out.width * w.stride_h + t / w.kernel_w * w.dilation_h - w.pad_h;
      const int64_t x = q % out.width * w.stride_w + t % w.kernel_w * w.dilation_w - w.pad_w;
      if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;
      visit(q, t, (y * in.width + x) * in.channels);
    }
  }
}

void CarryWeights(const Layer& layer, const Map& in, std::vector<double>& out_e) {
  const packed::Layout layout(layer.kernel(), layer.packing);
  const std::vector<float> weight_op = packed::Unpack(layout, layer.weight_pnl, layer.owner_nr);
  const bool conv = layer.IsConvolution();
  const bool depthwise = layer.kind == LayerKind::kDepthwiseConv2d;
  const Shape in_shape = conv ? layer.input : Shape{1, 1, layout.shape.channels};
  const packed::Window window = conv ? layer.window : packed::Window{};
  const int64_t outputs = layer.output.channels, taps = layout.positions / layout.shape.channels;
  const double roundings = static_cast<double>(layout.positions + 2) * kEpsilon;
  for (size_t i = 0; i < out_e.size(); ++i) {
    out_e[i] = roundings * std::abs(layer.bias_o[i % static_cast<size_t>(outputs)]);
  }
  ForEachTap(in_shape, layer.output, window, [&](int64_t q, int64_t t, int64_t first) {
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t c = 0; c < layout.shape.channels; ++c) {
        const double weight = std::abs(weight_op[o * layout.positions + c * taps + t]);
        const int64_t at = first + (depthwise ? o : c);
        const double e = in.e[at], x = std::abs(in.x[at]);
        out_e[q * outputs + o] += weight * e + roundings * weight * (x + e);
      }
    }
  });
}

void CarryAffine(const Layer& layer, const Map& in, std::vector<double>& out_e) {
  for (size_t i = 0; i < out_e.size(); ++i) {
    const size_t c = i % layer.weight_pnl.size();
    const double weight = std::abs(layer.weight_pnl[c]), bias = std::abs(layer.bias_o[c]);
    out_e[i] = weight * in.e[i] + 3 * kEpsilon * (bias + weight * (std::abs(in.x[i]) + in.e[i]));
  }
}

/// A maximum errs by no more than its worst element; an average of n is a sum of n products.
void CarryPool(const Layer& layer, const Map& in, std::vector<double>& out_e) {
  const int64_t channels = layer.input.channels;
  std::vector<double> count(out_e.size());
  ForEachTap(layer.input, layer.output, layer.window, [&](int64_t q, int64_t, int64_t first) {
    for (int64_t c = 0; c < channels; ++c) {
      ++count[q * channels + c];
      double& e = out_e[q * channels + c];
      if (layer.kind == LayerKind::kMaxPool) {
        e = std::max(e, in.e[first + c]);
      } else {
        const double taps = layer.window.kernel_h * layer.window.kernel_w;
        e +=
            in.e[first + c] + (taps + 2) * kEpsilon * (std::abs(in.x[first + c]) + in.e[first + c]);
      }
    }
  });
  if (layer.kind == LayerKind::kMaxPool) return;
  for (size_t i = 0; i < out_e.size(); ++i) out_e[i] /= count[i];
}

/// What is below zero whatever its error is zero after the ReLU, without error.
Map Rectify(const Map& in) {
  Map out = in;
  for (size_t i = 0; i < in.x.size(); ++i) {
    if (in.x[i] + in.e[i] <= 0) out.e[i] = 0;
    out.x[i] = std::max(in.x[i], 0.0f);
  }
  return out;
}

struct Unit {
  int64_t first;  ///< index of its first element
  double rank, e;
};

/// The units of one contest, i.e. one group of one position or of the map.
void CarryContest(const Map& in, std::vector<Unit> units, int64_t winners, int64_t chunk,
                  std::vector<double>& out_e) {
  for (Unit& unit : units) {
    unit.rank = unit.e = 0;
    for (int64_t i = unit.first; i < unit.first + chunk; ++i) {
      unit.rank += in.x[i];
      unit.e += in.e[i] + static_cast<double>(chunk) * kEpsilon * (in.x[i] + in.e[i]);
    }
  }
  std::stable_sort(units.begin(), units.end(),
                   [](const Unit& a, const Unit& b) { return a.rank > b.rank; });
  double weakest_winner = INFINITY, strongest_loser = 0;
  for (int64_t u = 0; u < std::ssize(units); ++u) {
    if (u < winners) weakest_winner = std::min(weakest_winner, units[u].rank - units[u].e);
    if (u >= winners) strongest_loser = std::max(strongest_loser, units[u].rank + units[u].e);
  }
  for (int64_t u = 0; u < std::ssize(units); ++u) {
    const bool wins = u < winners;
    const bool certain = wins ? units[u].rank - units[u].e > strongest_loser
                              : units[u].rank + units[u].e < weakest_winner;
    for (int64_t i = units[u].first; i < units[u].first + chunk; ++i) {
      if (certain) {
        out_e[i] = wins ? in.e[i] : 0;
      } else {
        out_e[i] = in.x[i] + in.e[i];
      }
    }
  }
}

void CarryKwta(const Layer& layer, const Map& in, std::vector<double>& out_e) {
  const packed::Kwta& k = layer.kwta;
  const int64_t positions = int64_t{layer.input.height} * layer.input.width;
  const int64_t channels = layer.input.channels, width = channels / k.groups;
  const int64_t contest = k.scope == packed::KwtaScope::kGlobal ? positions : 1;
  for (int64_t q = 0; q < positions; q += contest) {
    for (int64_t g = 0; g < k.groups; ++g) {
      std::vector<Unit> units;
      for (int64_t at = q; at < q + contest; ++at) {
        for (int64_t c = 0; c < width; c += k.chunk) {
          units.push_back({at * channels + g * width + c, 0, 0});
        }
      }
      CarryContest(in, std::move(units), k.winners / k.groups, k.chunk, out_e);
    }
  }
}

}  // namespace

std::vector<double> LogitBound(const packed::Model& model, std::span<const float> features) {
  const ReferenceRun reference = RunReference(model, features);
  Map in{{features.begin(), features.end()}, std::vector<double>(features.size())};
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    Map out{reference.layer_output[i], std::vector<double>(reference.layer_output[i].size())};
    switch (layer.kind) {
      case LayerKind::kConv2d:
      case LayerKind::kDepthwiseConv2d:
      case LayerKind::kLinear:
        CarryWeights(layer, in, out.e);
        break;
      case LayerKind::kAffine:
        CarryAffine(layer, in, out.e);
        break;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        CarryPool(layer, in, out.e);
        break;
      case LayerKind::kRelu:
        out.e = Rectify(in).e;
        break;
      case LayerKind::kKwta:
        CarryKwta(layer, Rectify(in), out.e);
        break;
      case LayerKind::kFlatten:
        out.e = in.e;
        break;
      default:  // the golden networks have no others
        BISPARSE_CHECK(false);
    }
    in = std::move(out);
  }
  return in.e;
}

}  // namespace bisparse
