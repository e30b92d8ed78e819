// SPDX-License-Identifier: Apache-2.0
// The network as a module; see network.h. Tested in: network_test.cc.
#include "train/nn/network.h"

#include "deploy/base/check.h"
#include "deploy/packed/pack.h"
#include "train/nn/shapes.h"

namespace bisparse::train {
namespace {

torch::Tensor OnCpu(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous() : tensor;
}

}  // namespace

NetworkImpl::NetworkImpl(const NetworkConfig& config, uint64_t seed) : config_(config) {
  if (config_.normalise_input) {
    input_scale_c_ = register_buffer("input_scale", torch::ones({config_.input.channels}));
    input_shift_c_ = register_buffer("input_shift", torch::zeros({config_.input.channels}));
  }
  const std::vector<bool> gated = GatedValues(config_);
  std::vector<size_t> last_reader(config_.layers.size() + 1);
  for (const LayerConfig& layer : config_.layers) {
    Stage stage{.config = layer};
    if (layer.HasWeights()) {
      stage.weights = register_module(layer.name, PackedWeight(layer, seed));
      stage.weights->SetGated(gated[static_cast<size_t>(layer.inputs[0] + 1)]);
    } else if (layer.kind == LayerKind::kKwta) {
      const int64_t positions = int64_t{layer.input.height} * layer.input.width;
      stage.kwta = register_module(layer.name, Kwta(layer.kwta, layer.input.channels, positions));
    } else if (layer.kind == LayerKind::kBatchNorm) {
      stage.norm = register_module(layer.name, BatchNorm(layer));
      stage.pool = PoolOf(config_, stages_.size());
    } else if (layer.kind == LayerKind::kLayerNorm) {
      stage.layer_norm = register_module(layer.name, LayerNorm(layer));
    } else {
      stage.function = FunctionOf(layer.kind);
    }
    for (const int32_t value : layer.inputs)
      last_reader[static_cast<size_t>(value + 1)] = stages_.size();
    stages_.push_back(stage);
  }
  for (size_t v = 0; v + 1 < last_reader.size(); ++v)
    stages_[last_reader[v]].last_read.push_back(v);
}

torch::Tensor NetworkImpl::RunStage(Stage& stage, Inputs x) {
  if (stage.weights) return stage.weights->forward(x[0]);
  if (stage.norm) return stage.norm->forward(x[0]);
  if (stage.layer_norm) return stage.layer_norm->forward(x[0]);
  if (stage.kwta) return stage.kwta->forward(x[0]);
  return stage.function(stage.config, x, is_training());
}

torch::Tensor NetworkImpl::forward(const torch::Tensor& x_bhwc, const Observer& observer) {
  std::vector<torch::Tensor> values = {Normalised(x_bhwc).permute({0, 3, 1, 2})};
  values.resize(stages_.size() + 1);
  for (size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    std::vector<torch::Tensor> inputs;
    for (const int32_t value : stage.config.inputs)
      inputs.push_back(values[static_cast<size_t>(value + 1)]);
    if (!observer && RunsByKernels(stage, inputs[0])) {
      const packed::Window* const pool = stage.pool != nullptr ? &stage.pool->window : nullptr;
      values[i + (pool != nullptr ? 2 : 1)] = stage.norm->ForwardByKernels(inputs[0], pool);
      for (const size_t value : stage.last_read) values[value].reset();
      if (pool != nullptr) ++i;
      continue;
    }
    values[i + 1] = RunStage(stage, inputs);
    if (observer) observer(stage.config, values[i + 1]);
    for (const size_t value : stage.last_read) values[value].reset();
  }
  return Flat(values.back());
}

/// Batch norms: with the pool after them, whose stage is then left out.
bool NetworkImpl::RunsByKernels(const Stage& stage, const torch::Tensor& x) const {
  return stage.packed && stage.norm && is_training() && stage.norm->CanUseKernels(x);
}

void NetworkImpl::SetWays(const std::vector<LayerWay>& ways) {
  for (Stage& stage : stages_) {
    for (const LayerWay& way : ways) {
      if (way.name == stage.config.name) stage.packed = way.packed;
    }
  }
}

void NetworkImpl::PackFixedOwners(double progress, const OnPacked& on_packed) {
  for (Stage& stage : stages_) {
    if (!stage.packed || !stage.weights || !stage.weights->CanPack()) continue;
    if (stage.weights->IsPacked() || !stage.weights->OwnersAreFixed(progress)) continue;
    const PackedWeightImpl::Repack repack = stage.weights->Pack();
    if (on_packed) on_packed(stage.weights->weight, repack);
  }
}

void NetworkImpl::Unpack() {
  for (Stage& stage : stages_) {
    if (stage.weights) stage.weights->Unpack();
  }
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
  for (Stage& stage : stages_) {
    if (stage.norm) stage.norm->SetProcessGroup(group);
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
    if (stage.norm) {
      layer.scale_c = OnCpu(stage.norm->weight);
      layer.shift_c = OnCpu(stage.norm->bias);
      layer.mean_c = OnCpu(stage.norm->running_mean);
      layer.variance_c = OnCpu(stage.norm->running_var);
    }
    if (stage.layer_norm) {
      layer.scale_c = OnCpu(stage.layer_norm->weight);
      layer.shift_c = OnCpu(stage.layer_norm->bias);
    }
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
    const auto add_all = [&others](const torch::nn::Module& norm) {
      for (const torch::Tensor& parameter : norm.parameters()) others.push_back(parameter);
    };
    if (stage.norm) add_all(*stage.norm);
    if (stage.layer_norm) add_all(*stage.layer_norm);
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
