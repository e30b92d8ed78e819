// SPDX-License-Identifier: Apache-2.0
// The network as a module; see network.h. Tested in: network_test.cc.
#include "train/nn/network.h"

#include "deploy/base/check.h"
#include "deploy/packed/pack.h"

namespace bisparse::train {
namespace {

namespace F = torch::nn::functional;

/// NCHW → N(HWC): the deployed order of a map's elements.
torch::Tensor FlattenChannelsLast(const torch::Tensor& x) {
  return x.dim() == 4 ? x.permute({0, 2, 3, 1}).reshape({x.size(0), -1}) : x;
}

torch::Tensor Pool(const LayerConfig& layer, const torch::Tensor& x) {
  const packed::Window& w = layer.window;
  const std::vector<int64_t> kernel = {w.kernel_h, w.kernel_w}, stride = {w.stride_h, w.stride_w},
                             padding = {w.pad_h, w.pad_w};
  if (layer.kind == LayerKind::kMaxPool) return torch::max_pool2d(x, kernel, stride, padding);
  return torch::avg_pool2d(x, kernel, stride, padding, /*ceil_mode=*/false,
                           /*count_include_pad=*/false);
}

torch::Tensor OnCpu(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous() : tensor;
}

template <typename Norm>
void ExportNorm(Norm& norm, TrainedLayer& layer) {
  layer.scale_c = OnCpu(norm->weight);
  layer.shift_c = OnCpu(norm->bias);
  layer.mean_c = OnCpu(norm->running_mean);
  layer.variance_c = OnCpu(norm->running_var);
}

}  // namespace

NetworkImpl::NetworkImpl(const NetworkConfig& config, uint64_t seed) : config_(config) {
  if (config_.normalise_input) {
    input_scale_c_ = register_buffer("input_scale", torch::ones({config_.input.channels}));
    input_shift_c_ = register_buffer("input_shift", torch::zeros({config_.input.channels}));
  }
  bool is_map = true;  // NCHW until the first flatten or linear
  for (const LayerConfig& layer : config_.layers) {
    Stage stage{.config = layer};
    if (layer.HasWeights()) {
      is_map = layer.IsConvolution();
      stage.weights = register_module(layer.name, PackedWeight(layer, seed));
    } else if (layer.kind == LayerKind::kFlatten) {
      is_map = false;
    } else if (layer.kind == LayerKind::kKwta) {
      const int64_t positions = int64_t{layer.input.height} * layer.input.width;
      stage.kwta = register_module(layer.name, Kwta(layer.kwta, layer.input.channels, positions));
    } else if (layer.kind == LayerKind::kBatchNorm) {
      const auto options = torch::nn::BatchNormOptions(layer.input.channels)
                               .eps(layer.epsilon)
                               .momentum(layer.momentum)
                               .affine(layer.affine);
      if (is_map) {
        stage.norm2d = register_module(layer.name, torch::nn::BatchNorm2d(options));
      } else {
        stage.norm1d = register_module(layer.name, torch::nn::BatchNorm1d(options));
      }
    }
    stages_.push_back(stage);
  }
}

template <typename Norm>
torch::Tensor NetworkImpl::RunNorm(Norm& norm, const torch::Tensor& x) {
  if (group_ == nullptr || !is_training()) return norm->forward(x);
  norm->num_batches_tracked += 1;
  return JointBatchNorm(x, norm->weight, norm->bias, norm->running_mean, norm->running_var,
                        *norm->options.momentum(), norm->options.eps(), *group_);
}

torch::Tensor NetworkImpl::RunStage(Stage& stage, const torch::Tensor& x) {
  const LayerConfig& layer = stage.config;
  switch (layer.kind) {
    case LayerKind::kConv2d:
    case LayerKind::kDepthwiseConv2d:
      return stage.weights->forward(x);
    case LayerKind::kLinear:
      return stage.weights->forward(FlattenChannelsLast(x));
    case LayerKind::kBatchNorm:
      return stage.norm2d ? RunNorm(stage.norm2d, x) : RunNorm(stage.norm1d, x);
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return Pool(layer, x);
    case LayerKind::kRelu:
      return torch::relu(x);
    case LayerKind::kDropout:
      return torch::dropout(x, layer.dropout, is_training());
    case LayerKind::kFlatten:
      return FlattenChannelsLast(x);
    case LayerKind::kKwta:
      return stage.kwta->forward(x);
  }
  Fail(ErrorKind::kInternal, layer.name, "unknown kind of layer {}", static_cast<int>(layer.kind));
}

torch::Tensor NetworkImpl::forward(const torch::Tensor& x_bhwc, const Observer& observer) {
  torch::Tensor x = Normalised(x_bhwc).permute({0, 3, 1, 2});
  for (Stage& stage : stages_) {
    x = RunStage(stage, x);
    if (observer) observer(stage.config, x);
  }
  return FlattenChannelsLast(x);
}

void NetworkImpl::SetInputNormalisation(const std::vector<float>& scale_c,
                                        const std::vector<float>& shift_c) {
  const torch::NoGradGuard no_grad;
  BISPARSE_CHECK(config_.normalise_input);
  BISPARSE_CHECK(static_cast<int64_t>(scale_c.size()) == input_scale_c_.numel());
  input_scale_c_.copy_(torch::tensor(scale_c));
  input_shift_c_.copy_(torch::tensor(shift_c));
}

torch::Tensor NetworkImpl::Normalised(const torch::Tensor& x_bhwc) const {
  return config_.normalise_input ? x_bhwc * input_scale_c_ + input_shift_c_ : x_bhwc;
}

void NetworkImpl::SetProcessGroup(const ProcessGroup* group) {
  group_ = group;
  for (Stage& stage : stages_) {
    if (stage.kwta) stage.kwta->SetProcessGroup(group);
  }
}

void NetworkImpl::SetEpoch(int32_t epoch, int32_t epochs) {
  for (Stage& stage : stages_) {
    if (stage.kwta) stage.kwta->SetEpoch(epoch, epochs);
  }
}

std::vector<TrainedLayer> NetworkImpl::TrainedLayers() const {
  std::vector<TrainedLayer> layers;
  for (const Stage& stage : stages_) {
    TrainedLayer layer{.config = stage.config};
    if (stage.weights) {
      layer.weight_op = stage.weights->MaskedWeight();
      layer.bias_o = OnCpu(stage.weights->bias);
      layer.owner_nr = stage.weights->Owners();
    }
    if (stage.norm1d) ExportNorm(stage.norm1d, layer);
    if (stage.norm2d) ExportNorm(stage.norm2d, layer);
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::vector<torch::Tensor> NetworkImpl::DecayedParameters() const {
  std::vector<torch::Tensor> decayed;
  for (const Stage& stage : stages_) {
    if (stage.weights) decayed.push_back(stage.weights->weight);
  }
  return decayed;
}

std::vector<torch::Tensor> NetworkImpl::OtherParameters() const {
  std::vector<torch::Tensor> others;
  for (const Stage& stage : stages_) {
    if (stage.weights && stage.weights->bias.defined()) others.push_back(stage.weights->bias);
    for (const auto& parameter : stage.norm1d   ? stage.norm1d->parameters()
                                 : stage.norm2d ? stage.norm2d->parameters()
                                                : std::vector<torch::Tensor>{}) {
      others.push_back(parameter);
    }
  }
  return others;
}

int64_t NetworkImpl::NonZeroWeights() const {
  int64_t count = 0;
  for (const Stage& stage : stages_) {
    if (!stage.weights) continue;
    const packed::Layout& layout = stage.weights->layout();
    count += stage.config.HasOwners() ? packed::CountOwned(layout, stage.weights->Owners())
                                      : layout.shape.weights();
  }
  return count;
}

int64_t NetworkImpl::DenseWeights() const {
  int64_t count = 0;
  for (const Stage& stage : stages_) {
    if (stage.weights) count += stage.weights->layout().shape.weights();
  }
  return count;
}

void NetworkImpl::LearnOwners(int64_t step, double progress, double learning_rate) {
  for (Stage& stage : stages_) {
    if (stage.weights) stage.weights->LearnOwners(step, progress, learning_rate);
  }
}

std::vector<NetworkImpl::Measure> NetworkImpl::Measures() const {
  std::vector<Measure> measures;
  for (const Stage& stage : stages_) {
    const std::string& name = stage.config.name;
    if (stage.config.HasOwners()) {
      measures.push_back({"density_" + name, stage.weights->KeptDensity()});
      if (stage.weights->LearnsOwners()) {
        measures.push_back({"owner_changes_" + name, stage.weights->OwnerChanges()});
      }
    }
    if (stage.kwta) {
      measures.push_back({"entropy_" + name, stage.kwta->NormalisedEntropy()});
      measures.push_back({"dead_" + name, stage.kwta->DeadUnits()});
    }
  }
  return measures;
}

void NetworkImpl::BeginEpoch() {
  for (Stage& stage : stages_) {
    if (stage.weights) stage.weights->BeginEpoch();
  }
}

}  // namespace bisparse::train
