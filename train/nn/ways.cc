// SPDX-License-Identifier: Apache-2.0
// Read first: ways.h. Tested in: ways_test.cc.
#include "train/nn/ways.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "train/nn/batch_norm.h"
#include "train/nn/norm_pool.h"
#include "train/nn/packed_weight.h"
#include "train/nn/pool.h"

namespace bisparse::train {
namespace {

/// Puts LibTorch's global generator back.
class KeepGenerator {
 public:
  KeepGenerator() : generator_(at::detail::getDefaultCPUGenerator()) {
    const std::lock_guard<std::mutex> lock(generator_.mutex());
    state_ = generator_.get_state();
  }
  ~KeepGenerator() {
    const std::lock_guard<std::mutex> lock(generator_.mutex());
    generator_.set_state(state_);
  }
  KeepGenerator(const KeepGenerator&) = delete;
  KeepGenerator& operator=(const KeepGenerator&) = delete;

 private:
  at::Generator generator_;
  torch::Tensor state_;
};

bool HasPackedKernels(const LayerConfig& layer) {
  return layer.HasOwners() && layer.kind != LayerKind::kDepthwiseConv2d;
}

bool HasWays(const LayerConfig& layer) {
  return HasPackedKernels(layer) || layer.kind == LayerKind::kBatchNorm;
}

double DensityAfter(const LayerConfig& layer, double before) {
  switch (layer.kind) {
    case LayerKind::kKwta: {
      const packed::Kwta& rule = layer.kwta.rule;
      const int64_t of =
          rule.scope == packed::KwtaScope::kGlobal ? layer.input.elements() : layer.input.channels;
      return std::min(1.0,
                      static_cast<double>(rule.winners) * rule.chunk / static_cast<double>(of));
    }
    case LayerKind::kRelu:
      return 0.5;
    case LayerKind::kDropout:
      return before * (1.0 - layer.dropout);
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return 1.0 - std::pow(1.0 - before, layer.window.kernel_h * layer.window.kernel_w);
    case LayerKind::kFlatten:
    case LayerKind::kConcat:
      return before;
    default:
      return 1.0;
  }
}

torch::Tensor RandomMap(const Shape& shape, int64_t batch, bool flat, double density) {
  torch::Tensor x = torch::randn({batch, shape.height, shape.width, shape.channels});
  if (density < 1.0) x = x.abs() * torch::rand_like(x).lt(density);
  return flat ? x.view({batch, -1}) : x.permute({0, 3, 1, 2});
}

/// One way of a layer: a step of forward, backward and optimiser.
using Step = std::function<void()>;

Step MakeStep(const OptimiserConfig& optimiser, const torch::nn::Module& module,
              const torch::Tensor& x, std::function<torch::Tensor()> forward) {
  const torch::Tensor dy = torch::randn_like(forward().detach());
  std::shared_ptr<torch::optim::Optimizer> moves;
  const std::vector<torch::Tensor> parameters = module.parameters();
  if (optimiser.kind == OptimiserKind::kSgd) {
    moves = std::make_shared<torch::optim::SGD>(
        parameters, torch::optim::SGDOptions(1e-3).momentum(optimiser.momentum));
  } else {
    moves = std::make_shared<torch::optim::AdamW>(parameters, torch::optim::AdamWOptions(1e-3));
  }
  return [moves, x, dy, forward = std::move(forward)] {
    moves->zero_grad();
    if (x.requires_grad()) torch::Tensor(x).mutable_grad() = torch::Tensor();
    forward().backward(dy);
    moves->step();
  };
}

double Milliseconds(const Step& step) {
  const auto start = std::chrono::steady_clock::now();
  step();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  return took.count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Their medians in milliseconds; in turn, so that whatever else the machine does meets all of them.
std::vector<double> TimeInTurn(const std::vector<Step>& steps) {
  constexpr int kRounds = 9;
  constexpr double kMostMilliseconds = 1000.0;
  std::vector<std::vector<double>> times(steps.size());
  double total = 0.0;
  for (const Step& step : steps) total += Milliseconds(step);  // the first time is not counted
  for (int i = 0; i < kRounds && (total < kMostMilliseconds || i < 3); ++i) {
    for (size_t w = 0; w < steps.size(); ++w) {
      times[w].push_back(Milliseconds(steps[w]));
      total += times[w].back();
    }
  }
  std::vector<double> medians;
  for (const std::vector<double>& of_one : times) medians.push_back(Median(of_one));
  return medians;
}

}  // namespace

std::vector<LayerWay> LayersWithWays(const NetworkConfig& network) {
  std::vector<LayerWay> ways;
  for (const LayerConfig& layer : network.layers) {
    if (HasWays(layer)) ways.push_back({.name = layer.name});
  }
  return ways;
}

std::vector<bool> GatedValues(const NetworkConfig& network) {
  std::vector<bool> gated = {false};
  for (const LayerConfig& layer : network.layers) {
    bool all = true;
    for (const int32_t value : layer.inputs) all = all && gated[static_cast<size_t>(value + 1)];
    switch (layer.kind) {
      case LayerKind::kKwta:
      case LayerKind::kRelu:
        all = true;
        break;
      // A zero of theirs comes from zeros, or from a place whose gradient is zero anyhow.
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
      case LayerKind::kDropout:
      case LayerKind::kFlatten:
      case LayerKind::kConcat:
        break;
      default:
        all = false;
    }
    gated.push_back(all);
  }
  return gated;
}

std::vector<double> ValueDensities(const NetworkConfig& network) {
  std::vector<double> densities = {1.0};
  for (const LayerConfig& layer : network.layers) {
    double before = 0.0;
    for (const int32_t value : layer.inputs)
      before = std::max(before, densities[static_cast<size_t>(value + 1)]);
    densities.push_back(DensityAfter(layer, before));
  }
  return densities;
}

int32_t OnlyReader(const NetworkConfig& network, size_t layer) {
  int32_t reader = -1, readers = 0;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (const int32_t value : network.layers[i].inputs) {
      if (value != static_cast<int32_t>(layer)) continue;
      reader = static_cast<int32_t>(i);
      ++readers;
    }
  }
  return readers == 1 ? reader : -1;
}

const LayerConfig* PoolOf(const NetworkConfig& network, size_t layer) {
  const int32_t reader = OnlyReader(network, layer);
  if (reader != static_cast<int32_t>(layer) + 1) return nullptr;
  const LayerConfig& next = network.layers[static_cast<size_t>(reader)];
  const bool pools = next.kind == LayerKind::kMaxPool && CanNormPool(next.window);
  return pools ? &next : nullptr;
}

std::vector<LayerWay> TimeWays(const NetworkConfig& network, const OptimiserConfig& optimiser,
                               int64_t batch, bool with_dense,
                               const std::function<void(const LayerWay&)>& done) {
  const KeepGenerator keep;
  const std::vector<bool> gated = GatedValues(network);
  const std::vector<double> densities = ValueDensities(network);
  std::vector<LayerWay> ways;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    LayerConfig layer = network.layers[i];
    if (!HasWays(layer)) continue;
    LayerWay way{.name = layer.name};
    const auto value = static_cast<size_t>(layer.inputs[0] + 1);
    const bool is_norm = layer.kind == LayerKind::kBatchNorm;
    const bool flat =
        is_norm ? layer.input.height * layer.input.width == 1 : layer.kind == LayerKind::kLinear;
    torch::Tensor x = RandomMap(layer.input, batch, flat, gated[value] ? densities[value] : 1.0);
    x.set_requires_grad(value > 0);
    std::vector<Step> steps;
    if (is_norm) {
      const LayerConfig* const pool = PoolOf(network, i);
      BatchNorm by_kernels(layer), by_libtorch(layer);
      if (!by_kernels->CanUseKernels(x)) {
        ways.push_back(way);
        continue;
      }
      steps = {MakeStep(optimiser, *by_kernels, x,
                        [=]() mutable {
                          return by_kernels->ForwardByKernels(x, pool ? &pool->window : nullptr);
                        }),
               MakeStep(optimiser, *by_libtorch, x, [=]() mutable {
                 const torch::Tensor y = by_libtorch->forward(x);
                 return pool ? MaxPool(*pool, std::vector<torch::Tensor>{y}, true) : y;
               })};
    } else {
      layer.packing.owners = OwnerRule::kStatic;
      LayerConfig without = layer;
      without.packing = {};
      PackedWeight by_kernels(layer, 1);
      by_kernels->SetGated(gated[value]);
      by_kernels->Pack();
      const auto add = [&](PackedWeight form) {
        steps.push_back(MakeStep(optimiser, *form, x, [=]() mutable { return form->forward(x); }));
      };
      add(by_kernels);
      add(PackedWeight(layer, 1));
      if (with_dense) add(PackedWeight(without, 1));
    }
    const std::vector<double> medians = TimeInTurn(steps);
    way.packed_ms = medians[0];
    way.masked_ms = medians[1];
    if (medians.size() > 2) way.dense_ms = medians[2];
    way.packed = way.packed_ms < way.masked_ms;
    if (done) done(way);
    ways.push_back(way);
  }
  return ways;
}

}  // namespace bisparse::train
