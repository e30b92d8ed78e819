// SPDX-License-Identifier: Apache-2.0
// Random networks quantised: every weight and bias within half a step; every map within a bound
// that is derived layer by layer, and winners that differ only where ranks are closer than twice
// that bound; networks and arguments that are refused.
// Past 400 lines: all of it rests on the bounds derived below.
#include "train/export/quantise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/random.h"
#include "deploy/base/test_seed.h"
#include "deploy/ops/activation/op.h"
#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/pack.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"

namespace bisparse::train {
namespace {

using packed::Layer;
using packed::LayerKind;
using packed::Model;

/// Networks of random_model.h that int8 can hold, with their seeds. smooth: with activations.
std::vector<std::pair<uint64_t, Model>> Networks(uint64_t count, bool graphs, bool smooth = false) {
  std::vector<std::pair<uint64_t, Model>> networks;
  for (const uint64_t seed : TestSeeds(count)) {
    Model model = MakeRandomModel(seed, {.exact = false, .graphs = graphs, .smooth = smooth});
    if (packed::I8Fault(model).empty()) networks.emplace_back(seed, std::move(model));
  }
  return networks;
}

std::vector<float> Samples(const Model& model, int64_t count, uint64_t seed) {
  CounterRandom random(seed, {9});
  std::vector<float> x_bi(static_cast<size_t>(count * model.input.elements()));
  for (float& x : x_bi) x = random.Normal();
  return x_bi;
}

std::span<const float> Sample(const std::vector<float>& x_bi, const Model& model, int64_t b) {
  const auto floats = static_cast<size_t>(model.input.elements());
  return std::span(x_bi).subspan(static_cast<size_t>(b) * floats, floats);
}

/// A layer with weights in both formats, row-major.
struct BothWeights {
  packed::Layout layout;
  std::vector<float> weight_op, i8_op;
  std::vector<double> step_o;  ///< of weights; times input_scale of biases

  BothWeights(const Layer& f32, const Layer& i8, double input_scale)
      : layout(f32.kernel(), f32.packing),
        weight_op(packed::Unpack(layout, f32.weight_pnl, f32.owner_nr)),
        i8_op(packed::Unpack(layout,
                             std::vector<float>(i8.weight_i8_pnl.begin(), i8.weight_i8_pnl.end()),
                             i8.owner_nr)) {
    for (size_t o = 0; o < static_cast<size_t>(layout.shape.outputs); ++o) {
      const double unit =
          i8.shift_o.empty() ? double{i8.scale_o[o]} : std::ldexp(i8.output_scale, -i8.shift_o[o]);
      step_o.push_back(unit / input_scale);
    }
  }
};

class QuantiseNetworks : public testing::TestWithParam<bool> {
 protected:
  bool graphs() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Random, QuantiseNetworks, testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "Graphs" : "Chains");
});

TEST_P(QuantiseNetworks, EveryWeightAndBiasIsWithinHalfAStep) {
  for (const auto& [seed, f32] : Networks(graphs() ? 50 : 150, graphs())) {
    SCOPED_TRACE(TestSeedText(seed));
    const Model i8 = QuantiseModel(f32, Samples(f32, 8, seed));
    const std::vector<packed::Quantisation> steps = packed::Quantisations(i8);
    const packed::Graph graph(f32);
    for (size_t i = 0; i < f32.layers.size(); ++i) {
      const Layer &from = f32.layers[i], &to = i8.layers[i];
      if (!from.HasWeights()) continue;
      const auto input = static_cast<size_t>(graph.inputs(static_cast<int64_t>(i))[0] + 1);
      const double input_scale = steps[input].scale, zero = steps[input].zero;
      const BothWeights both(from, to, input_scale);
      const auto positions = static_cast<size_t>(both.layout.positions);
      for (size_t o = 0; o < both.step_o.size(); ++o) {
        const double step = both.step_o[o];
        double largest = 0, largest_f32 = 0, sum = 0;
        for (size_t p = o * positions; p < (o + 1) * positions; ++p) {
          ASSERT_LE(std::abs(both.i8_op[p] * step - both.weight_op[p]), step * 0.500001)
              << from.name << ", output " << o;
          largest = std::max<double>(largest, std::abs(both.i8_op[p]));
          largest_f32 = std::max<double>(largest_f32, std::abs(both.weight_op[p]));
          sum += both.i8_op[p];
        }
        const double unit = step * input_scale;
        ASSERT_LE(std::abs((to.bias_i32_o[o] + zero * sum) * unit - from.bias_o[o]),
                  unit * 0.500001)
            << from.name << ", output " << o;
        // The largest shift: one more would take the largest weight past 64.
        if (largest_f32 == 0) continue;
        ASSERT_GE(largest, to.shift_o.empty() ? 64 : 31) << from.name << ", output " << o;
      }
    }
  }
}

/// A map in both formats: f32 after ReLU, int8 as real numbers, and how far they may be apart.
struct Map {
  std::vector<double> f32, i8, bound;
};

size_t At(const Shape& shape, int64_t y, int64_t x, int64_t c) {
  return static_cast<size_t>((y * shape.width + x) * shape.channels + c);
}

/// Calls f(input index, tap) for each tap of output (y, x) that is not padding, channel c.
template <class F>
void ForEachTap(const Layer& layer, int64_t yo, int64_t xo, int64_t c, const F& f) {
  const packed::Window& w = layer.window;
  for (int64_t tap = 0; tap < int64_t{w.kernel_h} * w.kernel_w; ++tap) {
    const int64_t y = yo * w.stride_h - w.pad_h + tap / w.kernel_w * w.dilation_h;
    const int64_t x = xo * w.stride_w - w.pad_w + tap % w.kernel_w * w.dilation_w;
    if (y < 0 || y >= layer.input.height || x < 0 || x >= layer.input.width) continue;
    f(At(layer.input, y, x, c), tap);
  }
}

/// |Σ step·w·x' − Σ W·x| ≤ Σ |W|·|x' − x| + Σ step/2·|x'|, and half a unit for the bias.
std::vector<double> SumBounds(const Layer& f32, const Layer& i8, double input_scale,
                              const Map& in) {
  const BothWeights both(f32, i8, input_scale);
  std::vector<double> bounds;
  const auto add = [&](double& bound, size_t o, int64_t p, size_t at) {
    const double weight = std::abs(
        both.weight_op[o * static_cast<size_t>(both.layout.positions) + static_cast<size_t>(p)]);
    if (weight == 0) return;
    bound += weight * in.bound[at] + both.step_o[o] / 2 * std::abs(in.i8[at]);
    bound += 0x1p-22 * weight * std::abs(in.f32[at]);  // the f32 reference rounds to floats
  };
  for (int64_t y = 0; y < f32.output.height; ++y) {
    for (int64_t x = 0; x < f32.output.width; ++x) {
      for (size_t o = 0; o < both.step_o.size(); ++o) {
        double bound = both.step_o[o] * input_scale / 2 + 0x1p-22 * std::abs(f32.bias_o[o]);
        for (int64_t c = 0; c < both.layout.shape.channels; ++c) {
          if (f32.kind == LayerKind::kLinear) {
            add(bound, o, c, static_cast<size_t>(c));
            continue;
          }
          const int64_t taps = both.layout.positions / both.layout.shape.channels;
          const bool depthwise = f32.kind == LayerKind::kDepthwiseConv2d;
          ForEachTap(f32, y, x, depthwise ? static_cast<int64_t>(o) : c,
                     [&](size_t at, int64_t tap) { add(bound, o, c * taps + tap, at); });
        }
        bounds.push_back(bound);
      }
    }
  }
  return bounds;
}

/// A pool of the bounds; half a step more where an average is rounded.
std::vector<double> PoolBounds(const Layer& layer, double scale, const Map& in) {
  std::vector<double> bounds;
  for (int64_t y = 0; y < layer.output.height; ++y) {
    for (int64_t x = 0; x < layer.output.width; ++x) {
      for (int64_t c = 0; c < layer.output.channels; ++c) {
        double largest = 0;
        ForEachTap(layer, y, x, c,
                   [&](size_t at, int64_t) { largest = std::max(largest, in.bound[at]); });
        bounds.push_back(largest + (layer.kind == LayerKind::kAvgPool ? scale * 0.500001 : 0));
      }
    }
  }
  return bounds;
}

/// Units of one k-WTA decision by the index of their first element.
std::vector<size_t> Winners(std::vector<size_t> units, const std::vector<double>& rank, int count) {
  std::stable_sort(units.begin(), units.end(),
                   [&](size_t a, size_t b) { return rank[a] > rank[b]; });
  units.resize(static_cast<size_t>(count));
  std::sort(units.begin(), units.end());
  return units;
}

/// Whether both formats chose the same winners. A unit that wins in f32 alone was beaten in int8 by
/// one that loses in f32: then its rank is at most twice the ranks' bound above the best loser's.
bool SameWinners(const Layer& layer, const Map& in) {
  const packed::Kwta& k = layer.kwta;
  const auto channels = static_cast<size_t>(layer.input.channels);
  const size_t width = channels / static_cast<size_t>(k.groups), elements = in.f32.size();
  const bool global = k.scope == packed::KwtaScope::kGlobal;
  const size_t span = global ? elements : channels;
  std::vector<double> f32_rank(elements), i8_rank(elements), bound(elements);
  for (size_t at = 0; at < elements; at += static_cast<size_t>(k.chunk)) {
    for (size_t i = at; i < at + static_cast<size_t>(k.chunk); ++i) {
      f32_rank[at] += in.f32[i];
      i8_rank[at] += in.i8[i];
      bound[at] += in.bound[i];
    }
  }
  bool same = true;
  for (size_t begin = 0; begin < elements; begin += span) {
    for (size_t group = 0; group < channels; group += width) {
      std::vector<size_t> units;
      double largest_bound = 0;
      for (size_t position = begin; position < begin + span; position += channels) {
        for (size_t c = group; c < group + width; c += static_cast<size_t>(k.chunk)) {
          units.push_back(position + c);
          largest_bound = std::max(largest_bound, bound[position + c]);
        }
      }
      const int count = k.winners / k.groups;
      const std::vector<size_t> f32 = Winners(units, f32_rank, count);
      const std::vector<size_t> i8 = Winners(units, i8_rank, count);
      if (f32 == i8) continue;
      same = false;
      double best_loser = -1;
      for (const size_t unit : units) {
        if (!std::binary_search(f32.begin(), f32.end(), unit))
          best_loser = std::max(best_loser, f32_rank[unit]);
      }
      for (const size_t unit : f32) {
        if (std::binary_search(i8.begin(), i8.end(), unit)) continue;
        EXPECT_LE(f32_rank[unit] - best_loser, 2 * largest_bound * 1.000001)
            << layer.name << ", unit at " << unit;
      }
    }
  }
  return same;
}

Map InputMap(const Model& i8, std::span<const float> features, const std::vector<int32_t>& q) {
  Map map;
  const double scale = i8.input_scale, zero = i8.input_zero;
  for (size_t i = 0; i < q.size(); ++i) {
    const double x = features[i];
    const double clipped = std::clamp(x, -zero * scale, (255 - zero) * scale);
    map.f32.push_back(x);
    map.i8.push_back(scale * (q[i] - zero));
    map.bound.push_back(0.50001 * scale + std::abs(x - clipped));
  }
  return map;
}

/// What is below 0 in both formats is 0.
Map Rectified(Map map) {
  for (double& x : map.f32) x = std::max(x, 0.0);
  for (double& x : map.i8) x = std::max(x, 0.0);
  return map;
}

/// The element of an input that is repeated over `output`, of that output's element.
size_t RepeatedAt(const Shape& input, const Shape& output, size_t element) {
  const auto channels = static_cast<size_t>(output.channels),
             width = static_cast<size_t>(output.width);
  const size_t c = element % channels, x = element / channels % width,
               y = element / channels / width;
  return At(input, input.height == 1 ? 0 : static_cast<int64_t>(y),
            input.width == 1 ? 0 : static_cast<int64_t>(x), static_cast<int64_t>(c));
}

/// Of add, multiply and concat, before their rounding.
std::vector<double> JoinBounds(const Layer& layer, const std::vector<const Map*>& in,
                               const std::vector<Shape>& shapes) {
  std::vector<double> bounds(static_cast<size_t>(layer.output.elements()));
  for (size_t e = 0; e < bounds.size(); ++e) {
    if (layer.kind == LayerKind::kAdd) {
      for (size_t k = 0; k < in.size(); ++k) {
        const size_t at = RepeatedAt(shapes[k], layer.output, e);
        bounds[e] += in[k]->bound[at] + 0x1p-22 * std::abs(in[k]->f32[at]);
      }
    } else if (layer.kind == LayerKind::kMultiply) {
      const size_t a = RepeatedAt(shapes[0], layer.output, e);
      const size_t b = RepeatedAt(shapes[1], layer.output, e);
      bounds[e] =
          std::abs(in[0]->i8[a]) * in[1]->bound[b] + std::abs(in[1]->f32[b]) * in[0]->bound[a];
    } else {
      const auto channels = static_cast<size_t>(layer.output.channels);
      size_t c = e % channels, k = 0;
      for (; c >= static_cast<size_t>(shapes[k].channels); ++k)
        c -= static_cast<size_t>(shapes[k].channels);
      bounds[e] = in[k]->bound[e / channels * static_cast<size_t>(shapes[k].channels) + c];
    }
  }
  return bounds;
}

/// With σ of either format: the centred x and σ are each off by at most what x is, see near_ties.h.
std::vector<double> NormBounds(const Layer& layer, const Map& in) {
  const auto channels = static_cast<size_t>(layer.input.channels);
  const auto count = static_cast<double>(channels);
  std::vector<double> bounds;
  for (size_t begin = 0; begin < in.f32.size(); begin += channels) {
    double mean = 0, variance = 0, mean_bound = 0, square_bound = 0;
    for (size_t i = begin; i < begin + channels; ++i) {
      mean += in.f32[i] / count;
      mean_bound += in.bound[i] / count;
      square_bound += in.bound[i] * in.bound[i] / count;
    }
    for (size_t i = begin; i < begin + channels; ++i) {
      variance += (in.f32[i] - mean) * (in.f32[i] - mean) / count;
    }
    const double factor = 1 / std::sqrt(variance + double{layer.epsilon});
    for (size_t c = 0; c < channels; ++c) {
      // |z' − z| ≤ r · (δ + mean δ) + |z'| · r · √(mean δ²), where |z'| is at most √C.
      const double passed = factor * (in.bound[begin + c] + mean_bound);
      const double normal = std::abs(in.f32[begin + c] - mean) * factor;
      const double part = factor * std::sqrt(square_bound);
      const double most =
          std::min(part < 1 ? (normal + passed) / (1 - part) : INFINITY, std::sqrt(count));
      bounds.push_back(std::abs(layer.weight_pnl[c]) * (passed + most * part) + 1e-5);
    }
  }
  return bounds;
}

/// Follows one sample through both formats; false where winners within rounding part their ways.
bool StaysWithinBounds(const Model& f32, const Model& i8, std::span<const float> features) {
  const ReferenceRun theirs = RunReference(f32, features);
  const ReferenceRunI8 ours = RunReferenceI8(i8, features);
  const packed::Graph graph(f32);
  const std::vector<packed::Quantisation> steps = packed::Quantisations(i8);
  std::vector<Map> maps = {InputMap(i8, features, ours.input)};  // of value v: entry v + 1
  std::vector<bool> of_input = {
      true};  // no own steps yet: values may be below 0 whatever the zero is
  for (size_t i = 0; i < f32.layers.size(); ++i) {
    const Layer &from = f32.layers[i], &to = i8.layers[i];
    const std::vector<float>& y = theirs.layer_output[i];
    std::vector<const Map*> inputs;
    std::vector<Shape> shapes;
    for (const int32_t value : graph.inputs(static_cast<int64_t>(i))) {
      inputs.push_back(&maps[static_cast<size_t>(value + 1)]);
      shapes.push_back(value < 0 ? f32.input : f32.layers[static_cast<size_t>(value)].output);
    }
    const auto first = static_cast<size_t>(graph.inputs(static_cast<int64_t>(i))[0] + 1);
    const Map& in = *inputs[0];
    const double scale = steps[i + 1].scale, zero = steps[i + 1].zero;
    Map out;
    bool own = true;
    const bool any_zero = packed::OperatorOf(from.kind).any_zero;
    if (from.HasWeights()) {
      out.bound = SumBounds(from, to, steps[first].scale, in);
      if (!to.scale_o.empty()) {
        for (size_t e = 0; e < y.size(); ++e) {
          EXPECT_LE(std::abs(ours.logits[e] - y[e]), out.bound[e]) << "logit " << e;
        }
        return true;
      }
    } else if (packed::OperatorOf(from.kind).most_inputs > 1) {
      out.bound = JoinBounds(from, inputs, shapes);
    } else if (const auto* activation = packed::FindActivation(from.kind)) {
      for (const double bound : in.bound) out.bound.push_back(activation->slope * bound + 1e-12);
    } else if (from.kind == LayerKind::kLayerNorm) {
      out.bound = NormBounds(from, in);
    } else {
      own = false;
      if (from.kind == LayerKind::kMaxPool || from.kind == LayerKind::kAvgPool) {
        out.bound = PoolBounds(from, scale, in);
      } else {
        if (from.kind == LayerKind::kKwta && !SameWinners(from, Rectified(in))) return false;
        out.bound = in.bound;
      }
    }
    of_input.push_back(!own && of_input[first] &&
                       packed::OperatorOf(from.kind).output_steps == packed::OutputSteps::kAsInput);
    for (size_t e = 0; own && e < y.size(); ++e) {
      out.bound[e] += 0.500001 * scale + std::max(0.0, y[e] - (255 - zero) * scale);
      if (zero > 0 || any_zero) out.bound[e] += std::max(0.0, -zero * scale - y[e]);
    }
    for (size_t e = 0; e < y.size(); ++e) {
      out.f32.push_back(zero > 0 || any_zero || of_input.back() ? y[e] : std::max(y[e], 0.0f));
      out.i8.push_back(scale * (ours.layer_output[i][e] - zero));
      EXPECT_LE(std::abs(out.i8[e] - out.f32[e]), out.bound[e]) << from.name << ", element " << e;
    }
    if (testing::Test::HasFailure()) return true;
    maps.push_back(std::move(out));
  }
  return true;
}

TEST_P(QuantiseNetworks, EveryMapStaysWithinItsBound) {
  int followed = 0, parted = 0;
  for (const auto& [seed, f32] : Networks(graphs() ? 100 : 300, graphs(), /*smooth=*/true)) {
    SCOPED_TRACE(TestSeedText(seed));
    const std::vector<float> x_bi = Samples(f32, 16, seed);
    const Model i8 = QuantiseModel(f32, x_bi);
    for (int64_t b = 0; b < 16; ++b) {
      ++(StaysWithinBounds(f32, i8, Sample(x_bi, f32, b)) ? followed : parted);
      ASSERT_FALSE(testing::Test::HasFailure()) << "sample " << b;
    }
  }
  if (TestSeedIsGiven()) return;
  EXPECT_GT(followed, 500);
  EXPECT_GT(parted, 0);
}

// Rounding to 1/255 of the largest value is off by about 1 % of a typical one (1/255/√12 over a
// root mean square of 1/8), weights by about half of that; up to three layers add as squares. The
// largest of many networks of few and small maps is a few times that. Graphs have up to ten layers, half the steps for maps
// with sign, and scales that are powers of two.
TEST_P(QuantiseNetworks, OfReluAreOffByAFewPerCent) {
  int networks = 0;
  for (const auto& [seed, f32] : Networks(graphs() ? 150 : 300, graphs())) {
    const auto is_kwta = [](const Layer& layer) { return layer.kind == LayerKind::kKwta; };
    if (std::any_of(f32.layers.begin(), f32.layers.end(), is_kwta)) continue;
    ++networks;
    const std::vector<float> x_bi = Samples(f32, 48, seed);
    // The last 16 were not seen in calibration.
    const Model i8 = QuantiseModel(f32, std::span(x_bi).first(x_bi.size() / 3 * 2));
    double error = 0, power = 0;
    for (int64_t b = 32; b < 48; ++b) {
      const std::span<const float> x = Sample(x_bi, f32, b);
      const std::vector<float> want = RunReference(f32, x).layer_output.back();
      const std::vector<float> got = RunReferenceI8(i8, x).logits;
      for (size_t o = 0; o < want.size(); ++o) {
        error += std::pow(double{want[o]} - double{got[o]}, 2);
        power += std::pow(double{want[o]}, 2);
      }
    }
    EXPECT_LT(std::sqrt(error / power), graphs() ? 0.12 : 0.06) << TestSeedText(seed);
  }
  if (TestSeedIsGiven()) return;
  EXPECT_GT(networks, 30);
}

TEST(Quantise, KeepsItsOwnNumbersAlive) {
  const std::vector<std::pair<uint64_t, Model>> networks = Networks(20, false);
  for (const auto& [seed, f32] : networks) {
    const std::vector<float> x_bi = Samples(f32, 4, seed);
    const Model i8 = QuantiseModel(f32, x_bi);
    const Model lonely =
        QuantiseModel(MakeRandomModel(seed, {.exact = false, .smooth = false}), x_bi);
    EXPECT_EQ(RunReferenceI8(lonely, Sample(x_bi, f32, 0)).logits,
              RunReferenceI8(i8, Sample(x_bi, f32, 0)).logits);
  }
}

/// inputs → linear1 (outputs) → relu → linear2 (1), dense, one lane.
struct TwoLayers {
  std::vector<float> weight1_io, bias1_o, weight2_o, bias2 = {0.0f};
  Model model;

  TwoLayers(std::vector<float> weights_io, std::vector<float> biases_o)
      : weight1_io(std::move(weights_io)),
        bias1_o(std::move(biases_o)),
        weight2_o(bias1_o.size(), 1.0f) {
    const auto outputs = static_cast<int32_t>(bias1_o.size());
    const auto inputs = static_cast<int32_t>(weight1_io.size()) / outputs;
    model.name = "two_layers";
    model.input = {1, 1, inputs};
    model.layers = {{.kind = LayerKind::kLinear,
                     .name = "linear1",
                     .input = {1, 1, inputs},
                     .output = {1, 1, outputs}},
                    {.kind = LayerKind::kRelu,
                     .name = "relu",
                     .input = {1, 1, outputs},
                     .output = {1, 1, outputs}},
                    {.kind = LayerKind::kLinear,
                     .name = "linear2",
                     .input = {1, 1, outputs},
                     .output = {1, 1, 1}}};
    model.layers[0].weight_pnl = weight1_io;
    model.layers[0].bias_o = bias1_o;
    model.layers[2].weight_pnl = weight2_o;
    model.layers[2].bias_o = bias2;
  }
  TwoLayers(const TwoLayers&) = delete;
};

TEST(Quantise, OutputsOfVeryDifferentSizes) {
  const std::vector<float> x_bi = {1, -1, 0.5f, 0.25f, -0.75f, 1, 0, 0.125f};
  // [input][output]: usual; all 0 but the bias; far below a step; a bias that takes all 32 bits.
  TwoLayers net({1, 0, 1e-14f, 1e-3f, 0.5f, 0, -1e-14f, -1e-3f}, {0.1f, 0.7f, 0.2f, 40.0f});
  const Model i8 = QuantiseModel(net.model, x_bi);
  const Layer& layer = i8.layers[0];
  EXPECT_THAT(layer.shift_o, testing::Each(testing::Le(30)));
  EXPECT_LT(layer.shift_o[3], 30);
  for (int64_t b = 0; b < 4; ++b) {
    const std::vector<float> want =
        RunReference(net.model, Sample(x_bi, net.model, b)).layer_output[0];
    const std::vector<int32_t> q = RunReferenceI8(i8, Sample(x_bi, net.model, b)).layer_output[0];
    for (size_t o = 0; o < want.size(); ++o) {
      EXPECT_NEAR(static_cast<float>(q[o]) * layer.output_scale, std::max(want[o], 0.0f),
                  0.51 * layer.output_scale)
          << "sample " << b << ", output " << o;
    }
  }
}

TEST(Quantise, AnAffineOnTheInputBringsUnlikeColumnsToOneRange) {
  // y = 2·(x0 − 48000) / 900 + 3·x1 / 1e-4: both columns matter alike, one step of a common scale
  // would be 190.
  TwoLayers net({2, 3}, {0});
  const std::vector<float> scale = {1.0f / 900, 1e4f}, shift = {-48000.0f / 900, 0};
  Layer affine{.kind = LayerKind::kAffine, .name = "columns"};
  affine.input = affine.output = net.model.input;
  affine.weight_pnl = scale;
  affine.bias_o = shift;
  net.model.layers.insert(net.model.layers.begin(), affine);
  CounterRandom random(5, {1});
  std::vector<float> x_bi;
  for (int b = 0; b < 200; ++b) {
    x_bi.push_back(48000 + 900 * random.Normal());
    x_bi.push_back(1e-4f * random.Normal());
  }
  const Model i8 = QuantiseModel(net.model, x_bi);
  double error = 0, power = 0;
  for (int64_t b = 0; b < 200; ++b) {
    const std::span<const float> x = Sample(x_bi, net.model, b);
    const double want = std::max(0.0, 2 * (x[0] - 48000.0) / 900 + 3 * x[1] / 1e-4);
    const double got = RunReferenceI8(i8, x).logits[0];
    error += (got - want) * (got - want);
    power += want * want;
  }
  EXPECT_LT(error, 1e-3 * power);  // without the affine layer x1 would be 0 in bytes: 0.7
}

TEST(Quantise, ALayerWithoutReluKeepsValuesBelowZero) {
  TwoLayers net({1, -2, 3, 0.5f}, {0.25f, -0.5f});
  net.model.layers.erase(net.model.layers.begin() + 1);
  std::vector<float> x_bi;
  CounterRandom random(3, {1});
  for (int i = 0; i < 200; ++i) x_bi.push_back(random.Normal());
  const Model i8 = QuantiseModel(net.model, x_bi);
  const Layer& layer = i8.layers[0];
  ASSERT_EQ(layer.output_zero, packed::kSignedZero);
  double error = 0, power = 0;
  bool below = false;
  for (int64_t b = 0; b < 100; ++b) {
    const std::span<const float> x = Sample(x_bi, net.model, b);
    const std::vector<float> want = RunReference(net.model, x).layer_output[0];
    const ReferenceRunI8 got = RunReferenceI8(i8, x);
    for (size_t o = 0; o < want.size(); ++o) {
      const float real = static_cast<float>(got.layer_output[0][o] - 128) * layer.output_scale;
      below |= real < 0;
      error += std::pow(real - want[o], 2);
      power += std::pow(want[o], 2);
    }
  }
  EXPECT_TRUE(below);
  EXPECT_LT(error, 1e-3 * power);
}

TEST(Quantise, ALayerThatIsNeverActive) {
  TwoLayers net({50, -20, 1, 3}, {-100, -200});
  const Model i8 = QuantiseModel(net.model, std::vector<float>{1, 1, 0.5f, 0});
  EXPECT_THAT(RunReferenceI8(i8, std::vector<float>{1, 1}).layer_output[0],
              testing::ElementsAre(0, 0));
}

TEST(Quantise, AnInputThatIsAlwaysZeroOrOfOneSign) {
  TwoLayers net({1, 2}, {1, 1});
  EXPECT_EQ(QuantiseModel(net.model, std::vector<float>{0, 0}).input_zero, 0);
  std::vector<float> x_bi;
  for (int i = 0; i <= 1000; ++i) x_bi.push_back(-0.004f * static_cast<float>(i));
  const Model negative = QuantiseModel(net.model, x_bi);
  EXPECT_EQ(negative.input_zero, 255);
  EXPECT_NEAR(negative.input_scale, 4.0f / 255, 0.05f / 255);
  for (float& x : x_bi) x = -x;
  EXPECT_EQ(QuantiseModel(net.model, x_bi).input_zero, 0);
}

std::string FaultOf(const Model& f32, std::span<const float> calibration_bi) {
  try {
    QuantiseModel(f32, calibration_bi);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(Quantise, RefusesWhatInt8CannotHold) {
  using testing::HasSubstr;
  const std::vector<float> x = {1, 2, 3, 4};
  TwoLayers net({1, 2, 3, 4}, {0, 0});
  TwoLayers large({1, 2, 3, 4}, {1, -1e30f});
  EXPECT_THAT(FaultOf(large.model, x), HasSubstr("two_layers: layer 'linear1': sums of output 1"));

  Model model = net.model;
  model.layers[1].kind = LayerKind::kAffine;
  model.layers[1].weight_pnl = model.layers[1].bias_o = net.bias1_o;
  EXPECT_THAT(FaultOf(model, x),
              HasSubstr("layer 'relu': kind = affine, int8 allows no affine but as"));

  EXPECT_THAT(FaultOf(net.model, {}), HasSubstr("two_layers: 0 floats to calibrate with"));
  EXPECT_THAT(FaultOf(net.model, std::span(x).first(3)), HasSubstr("3 floats to calibrate with"));
  const std::vector<float> nan = {1, 2, 3, NAN};
  EXPECT_THAT(FaultOf(net.model, nan), HasSubstr("sample 1 to calibrate with holds nan"));
  EXPECT_THAT(FaultOf(QuantiseModel(net.model, x), x), HasSubstr("is int8 already"));
}

}  // namespace
}  // namespace bisparse::train
