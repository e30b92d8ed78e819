// SPDX-License-Identifier: Apache-2.0
// Rounding bounds alongside a forward pass; see near_ties.h for the formula.
#include "train/export/near_ties.h"

#include <cmath>
#include <limits>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/ops/activation/op.h"
#include "train/config/operators.h"
#include "train/nn/join.h"
#include "train/nn/pool.h"
#include "train/nn/shapes.h"

namespace bisparse::train {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
constexpr double kLambda = 5.0;

/// The layer's linear map with other weights: convolution or matrix product, no bias.
torch::Tensor LinearMap(const LayerConfig& layer, const torch::Tensor& x,
                        const torch::Tensor& weight_op) {
  if (layer.kind == LayerKind::kLinear) return torch::matmul(Flat(x), weight_op.t());
  const packed::Window& w = layer.window;
  const torch::Tensor weight =
      weight_op.reshape({layer.kernel.outputs, layer.kernel.channels, w.kernel_h, w.kernel_w});
  return torch::conv2d(Map(x), weight, {}, at::IntArrayRef({w.stride_h, w.stride_w}),
                       at::IntArrayRef({w.pad_h, w.pad_w}),
                       at::IntArrayRef({w.dilation_h, w.dilation_w}),
                       layer.kind == LayerKind::kDepthwiseConv2d ? layer.kernel.outputs : 1);
}

torch::Tensor PerChannel(const torch::Tensor& value_c, const torch::Tensor& like) {
  return like.dim() == 4 ? value_c.reshape({1, -1, 1, 1}) : value_c.reshape({1, -1});
}

/// What a layer reads and gives, and δ of what it reads.
struct Traced {
  const TrainedLayer& layer;
  Inputs x, delta;
  const torch::Tensor& y;
};

torch::Tensor OfProduct(const Traced& t) {
  const LayerConfig& layer = t.layer.config;
  const torch::Tensor weight = t.layer.weight_op, x = t.x[0];
  torch::Tensor sum_abs = LinearMap(layer, x.abs(), weight.abs());
  if (t.layer.bias_o.defined()) sum_abs = sum_abs + PerChannel(t.layer.bias_o.abs(), sum_abs);
  const torch::Tensor terms =
      LinearMap(layer, x.ne(0).to(torch::kFloat32), weight.ne(0).to(torch::kFloat32));
  const torch::Tensor passed = LinearMap(layer, t.delta[0].square(), weight.square());
  return kLambda * kUnitRoundoff * (terms + 2).sqrt() * sum_abs + passed.clamp_min(0).sqrt();
}

/// Scaled, and the rounding of the fold itself.
torch::Tensor OfNorm(const Traced& t) {
  torch::Tensor factor_c = (t.layer.variance_c + t.layer.config.epsilon).rsqrt();
  if (t.layer.scale_c.defined()) factor_c = factor_c * t.layer.scale_c.abs();
  const torch::Tensor& delta = t.delta[0];
  return delta * PerChannel(factor_c, delta) +
         kLambda * kUnitRoundoff * (t.y.abs() + PerChannel(factor_c * t.layer.mean_c.abs(), delta));
}

torch::Tensor OfMaxPool(const Traced& t) { return MaxPool(t.layer.config, t.delta, false); }

/// A mean is no further off than the worst of its terms.
torch::Tensor OfAvgPool(const Traced& t) {
  return OfMaxPool(t) + kLambda * kUnitRoundoff * t.y.abs();
}

torch::Tensor OfFlatten(const Traced& t) { return Flat(t.delta[0]); }

torch::Tensor OfKwta(const Traced& t) {
  return torch::where(t.y.ne(0), t.delta[0], torch::zeros_like(t.delta[0]));
}

torch::Tensor AsInput(const Traced& t) { return t.delta[0]; }

/// Branches share producers, so their errors are not independent: they add up.
torch::Tensor OfSum(const Traced& t) {
  std::vector<torch::Tensor> abs(t.x.begin(), t.x.end());
  for (torch::Tensor& x : abs) x = x.abs();
  const double roundings = static_cast<double>(t.x.size() - 1);
  return AddUp(t.layer.config, t.delta, false) +
         kLambda * kUnitRoundoff * std::sqrt(roundings) * AddUp(t.layer.config, abs, false);
}

/// Π(|x| + δ) − Π|x|, and the rounding of the products.
torch::Tensor OfMultiply(const Traced& t) {
  std::vector<torch::Tensor> highest;
  for (size_t i = 0; i < t.x.size(); ++i) highest.push_back(t.x[i].abs() + t.delta[i]);
  const double roundings = static_cast<double>(t.x.size() - 1);
  return Multiply(t.layer.config, highest, false) - t.y.abs() +
         kLambda * kUnitRoundoff * std::sqrt(roundings) * t.y.abs();
}

/// What its input is off by, times the slope, and the rounding of x and y: some functions cancel where y is small.
torch::Tensor OfActivation(const Traced& t) {
  const packed::Activation* const activation =
      packed::FindActivation(*OperatorOf(t.layer.config.kind).deployed);
  BISPARSE_CHECK(activation != nullptr);
  return activation->slope * t.delta[0] + kLambda * kUnitRoundoff * (t.x[0].abs() + t.y.abs());
}

/// As if each channel's x were off by what it is off, by the rounding of x and by that of the mean.
torch::Tensor OfLayerNorm(const Traced& t) {
  const int64_t channels = t.layer.config.input.channels;
  const double sums = std::sqrt(static_cast<double>(channels) + 4.0);
  const auto mean = [](const torch::Tensor& values) { return values.mean({1}, true); };
  const torch::Tensor& x = t.x[0];
  const torch::Tensor distance = x - mean(x);
  const torch::Tensor factor = (mean(distance.square()) + t.layer.config.epsilon).rsqrt();
  const torch::Tensor normal = distance * factor;
  const torch::Tensor gain = PerChannel(t.layer.scale_c.abs(), x);
  const torch::Tensor delta =
      t.delta[0] + kLambda * kUnitRoundoff * (x.abs() + sums * mean(x.abs()));
  const torch::Tensor passed =
      factor * (delta + mean(delta) + normal.abs() * mean(delta.square()).sqrt());
  return gain * (passed + kLambda * kUnitRoundoff * sums * normal.abs()) +
         kLambda * kUnitRoundoff * (t.y.abs() + PerChannel(t.layer.shift_c.abs(), x));
}

torch::Tensor OfConcat(const Traced& t) { return Concat(t.layer.config, t.delta, false); }

/// δ of a layer's output by its kind.
struct Row {
  LayerKind kind;
  torch::Tensor (*delta)(const Traced&);
};
constexpr Row kRows[] = {
    {LayerKind::kConv2d, OfProduct},
    {LayerKind::kConv1d, OfProduct},
    {LayerKind::kDepthwiseConv2d, OfProduct},
    {LayerKind::kLinear, OfProduct},
    {LayerKind::kBatchNorm, OfNorm},
    {LayerKind::kMaxPool, OfMaxPool},
    {LayerKind::kAvgPool, OfAvgPool},
    {LayerKind::kRelu, AsInput},
    {LayerKind::kDropout, AsInput},
    {LayerKind::kFlatten, OfFlatten},
    {LayerKind::kKwta, OfKwta},
    {LayerKind::kAdd, OfSum},
    {LayerKind::kMultiply, OfMultiply},
    {LayerKind::kConcat, OfConcat},
    {LayerKind::kLayerNorm, OfLayerNorm},
};

/// Activations have no row.
torch::Tensor DeltaOf(LayerKind kind, const Traced& traced) {
  for (const Row& row : kRows) {
    if (row.kind == kind) return row.delta(traced);
  }
  return OfActivation(traced);
}

/// [B][candidates of a group][chunk] with one row for each group that is ranked apart.
torch::Tensor ByGroup(const torch::Tensor& x, const packed::Kwta& kwta) {
  const torch::Tensor x_bhwc =
      x.dim() == 4 ? x.permute({0, 2, 3, 1}) : x.reshape({x.size(0), 1, 1, -1});
  const int64_t batch = x_bhwc.size(0), channels = x_bhwc.size(3);
  const int64_t positions = x_bhwc.size(1) * x_bhwc.size(2);
  const int64_t units = channels / kwta.groups / kwta.chunk;
  torch::Tensor grouped = x_bhwc.reshape({batch, positions, kwta.groups, units, kwta.chunk});
  if (kwta.scope == packed::KwtaScope::kGlobal) {
    return grouped.permute({0, 2, 1, 3, 4})
        .reshape({batch, kwta.groups, positions * units, kwta.chunk});
  }
  return grouped.reshape({batch, positions * kwta.groups, units, kwta.chunk});
}

}  // namespace

torch::Tensor NearlyTied(const torch::Tensor& x, const torch::Tensor& delta,
                         const packed::Kwta& kwta) {
  const torch::Tensor rank = ByGroup(x, kwta).relu().sum(3);  // [B][rows][candidates]
  const torch::Tensor margin = 2.0 * ByGroup(delta, kwta).sum(3);
  const int64_t winners = kwta.winners / kwta.groups;
  if (winners >= rank.size(2)) return torch::zeros({x.size(0)}, torch::kBool);
  const torch::Tensor order =
      std::get<1>(rank.sort(/*stable=*/true, /*dim=*/2, /*descending=*/true));
  const torch::Tensor rank_k = rank.gather(2, order), margin_k = margin.gather(2, order);
  const double infinity = std::numeric_limits<double>::infinity();
  const torch::Tensor lowest_winner = (rank_k - margin_k).slice(2, 0, winners).amin(2);
  const torch::Tensor loser = rank_k.slice(2, winners), loser_margin = margin_k.slice(2, winners);
  const torch::Tensor highest_loser =
      (loser + loser_margin).masked_fill(loser.le(loser_margin), -infinity).amax(2);
  return highest_loser.ge(lowest_winner).any(1);
}

TracedForward ForwardWithNearTies(Network& network, const torch::Tensor& x_bhwc) {
  const torch::NoGradGuard no_grad;
  const std::vector<TrainedLayer> layers = network->TrainedLayers();
  // Of the input, then of each layer.
  std::vector<torch::Tensor> values = {network->Normalised(x_bhwc).permute({0, 3, 1, 2})};
  std::vector<torch::Tensor> deltas = {torch::zeros_like(values[0])};
  if (network->input_scale_c().defined()) {
    // A product and a sum, each rounded.
    const torch::Tensor shift = network->input_shift_c().abs();
    const torch::Tensor sum_abs = (x_bhwc * network->input_scale_c()).abs() + shift;
    deltas[0] = (2.0 * kUnitRoundoff * sum_abs).permute({0, 3, 1, 2});
  }
  TracedForward traced{.logits_bo = {},
                       .nearly_tied_b = torch::zeros({x_bhwc.size(0)}, torch::kBool)};
  const auto observe = [&](const LayerConfig& config, const torch::Tensor& y_device) {
    std::vector<torch::Tensor> x, delta;
    for (const int32_t value : config.inputs) {
      x.push_back(values[static_cast<size_t>(value + 1)]);
      delta.push_back(deltas[static_cast<size_t>(value + 1)]);
    }
    const torch::Tensor y = y_device.to(torch::kCPU);
    if (config.kind == LayerKind::kKwta) {
      traced.nearly_tied_b.logical_or_(NearlyTied(x[0], delta[0], config.kwta.rule));
    }
    const TrainedLayer& layer = layers[values.size() - 1];
    deltas.push_back(DeltaOf(config.kind, {layer, x, delta, y}));
    values.push_back(y);
  };
  traced.logits_bo = network->forward(x_bhwc, observe).to(torch::kCPU).contiguous();
  return traced;
}

}  // namespace bisparse::train
