// SPDX-License-Identifier: Apache-2.0
// Rounding bounds alongside a forward pass; see near_ties.h for the formula.
#include "train/export/near_ties.h"

#include <cmath>
#include <limits>

namespace bisparse::train {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
constexpr double kLambda = 5.0;

torch::Tensor ToFlat(const torch::Tensor& x) {
  return x.dim() == 4 ? x.permute({0, 2, 3, 1}).reshape({x.size(0), -1}) : x;
}

/// The layer's linear map with other weights: convolution or matrix product, no bias.
torch::Tensor Multiply(const LayerConfig& layer, const torch::Tensor& x,
                       const torch::Tensor& weight_op) {
  if (layer.kind == LayerKind::kLinear) return torch::matmul(ToFlat(x), weight_op.t());
  const packed::Window& w = layer.window;
  const torch::Tensor weight =
      weight_op.reshape({layer.kernel.outputs, layer.kernel.channels, w.kernel_h, w.kernel_w});
  return torch::conv2d(x, weight, {}, at::IntArrayRef({w.stride_h, w.stride_w}),
                       at::IntArrayRef({w.pad_h, w.pad_w}), /*dilation=*/1,
                       layer.kind == LayerKind::kDepthwiseConv2d ? layer.kernel.outputs : 1);
}

torch::Tensor PerChannel(const torch::Tensor& value_c, const torch::Tensor& like) {
  return like.dim() == 4 ? value_c.reshape({1, -1, 1, 1}) : value_c.reshape({1, -1});
}

/// δ after a conv2d or linear layer.
torch::Tensor DeltaOfProduct(const TrainedLayer& layer, const torch::Tensor& x,
                             const torch::Tensor& delta) {
  const torch::Tensor weight = layer.weight_op;
  torch::Tensor sum_abs = Multiply(layer.config, x.abs(), weight.abs());
  if (layer.bias_o.defined()) sum_abs = sum_abs + PerChannel(layer.bias_o.abs(), sum_abs);
  const torch::Tensor terms =
      Multiply(layer.config, x.ne(0).to(torch::kFloat32), weight.ne(0).to(torch::kFloat32));
  const torch::Tensor passed = Multiply(layer.config, delta.square(), weight.square());
  return kLambda * kUnitRoundoff * (terms + 2).sqrt() * sum_abs + passed.clamp_min(0).sqrt();
}

/// δ after a batch norm: scaled, and the rounding of the fold itself.
torch::Tensor DeltaOfNorm(const TrainedLayer& layer, const torch::Tensor& y,
                          const torch::Tensor& delta) {
  torch::Tensor factor_c = (layer.variance_c + layer.config.epsilon).rsqrt();
  if (layer.scale_c.defined()) factor_c = factor_c * layer.scale_c.abs();
  return delta * PerChannel(factor_c, delta) +
         kLambda * kUnitRoundoff * (y.abs() + PerChannel(factor_c * layer.mean_c.abs(), delta));
}

torch::Tensor PoolDelta(const LayerConfig& layer, const torch::Tensor& delta) {
  const packed::Window& w = layer.window;
  return torch::max_pool2d(delta, {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w},
                           {w.pad_h, w.pad_w});
}

/// δ after a layer with input x and output y. A mean is no further off than the worst of its
/// terms.
torch::Tensor NextDelta(const TrainedLayer& layer, const torch::Tensor& x, const torch::Tensor& y,
                        const torch::Tensor& delta) {
  switch (layer.config.kind) {
    case LayerKind::kConv2d:
    case LayerKind::kDepthwiseConv2d:
    case LayerKind::kLinear:
      return DeltaOfProduct(layer, x, delta);
    case LayerKind::kBatchNorm:
      return DeltaOfNorm(layer, y, delta);
    case LayerKind::kMaxPool:
      return PoolDelta(layer.config, delta);
    case LayerKind::kAvgPool:
      return PoolDelta(layer.config, delta) + kLambda * kUnitRoundoff * y.abs();
    case LayerKind::kFlatten:
      return ToFlat(delta);
    case LayerKind::kKwta:
      return torch::where(y.ne(0), delta, torch::zeros_like(delta));
    case LayerKind::kRelu:
    case LayerKind::kDropout:
      return delta;
  }
  return delta;
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
  torch::Tensor x = network->Normalised(x_bhwc).permute({0, 3, 1, 2});
  torch::Tensor delta = torch::zeros_like(x);
  if (network->input_scale_c().defined()) {
    // A product and a sum, each rounded.
    const torch::Tensor shift = network->input_shift_c().abs();
    delta = 2.0 * kUnitRoundoff * ((x_bhwc * network->input_scale_c()).abs() + shift);
    delta = delta.permute({0, 3, 1, 2});
  }
  TracedForward traced{.logits_bo = {},
                       .nearly_tied_b = torch::zeros({x_bhwc.size(0)}, torch::kBool)};
  size_t index = 0;
  const auto observe = [&](const LayerConfig&, const torch::Tensor& y_device) {
    const torch::Tensor y = y_device.to(torch::kCPU);
    const TrainedLayer& layer = layers[index++];
    if (layer.config.kind == LayerKind::kKwta) {
      traced.nearly_tied_b.logical_or_(NearlyTied(x, delta, layer.config.kwta.rule));
    }
    delta = NextDelta(layer, x, y, delta);
    x = y;
  };
  traced.logits_bo = network->forward(x_bhwc, observe).to(torch::kCPU).contiguous();
  return traced;
}

}  // namespace bisparse::train
