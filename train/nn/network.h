// SPDX-License-Identifier: Apache-2.0
// The network of a configuration as a LibTorch module: its layers in order, one sub-module for each
// that has state.
//
//   x_bhwc [B][H][W][C] → layer → layer → … → logits [B][classes]
//
// A layer reads the values of the layers that its `inputs` name. A value is kept until its last reader. Inside, maps are
// NCHW tensors in channels-last memory; flatten keeps the channels-last order, (y·W + x)·C + c, so that a linear layer's
// input index is the deployed one. Read first: train/config/config.h, shapes.h. Tested in: network_test.cc.
#ifndef BISPARSE_TRAIN_NN_NETWORK_H_
#define BISPARSE_TRAIN_NN_NETWORK_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/nn/batch_norm.h"
#include "train/nn/kwta.h"
#include "train/nn/layer_norm.h"
#include "train/nn/operators.h"
#include "train/nn/packed_weight.h"
#include "train/nn/ways.h"

namespace bisparse::train {

/// What the exporter needs of one layer; tensors are f32 on the CPU, contiguous, undefined where
/// the layer has none.
struct TrainedLayer {
  LayerConfig config;
  torch::Tensor weight_op;           ///< layers with weights: [O][P], masked ones exactly +0
  torch::Tensor bias_o;              ///< layers with weights and bias
  std::vector<uint8_t> owner_nr;     ///< packed layers
  torch::Tensor scale_c, shift_c;    ///< batch_norm with affine, layer_norm: γ, β
  torch::Tensor mean_c, variance_c;  ///< batch_norm: running statistics (epsilon: config.epsilon)
};

class NetworkImpl : public torch::nn::Module {
 public:
  /// Draws initial weights from LibTorch's global CPU generator (seed it before) and owners from
  /// `seed`.
  NetworkImpl(const NetworkConfig& config, uint64_t seed);

  /// Called with each layer and its output, in the order of the layers.
  using Observer = std::function<void(const LayerConfig&, const torch::Tensor&)>;
  torch::Tensor forward(const torch::Tensor& x_bhwc, const Observer& observer = {});

  /// data.normalise: x·scale + shift of each input channel, before the layers. Kept with the
  /// weights; 1 and 0 until it is set. Only where config().normalise_input.
  void SetInputNormalisation(const std::vector<float>& scale_c, const std::vector<float>& shift_c);
  /// Of the samples; `x_bhwc` itself where there is none.
  torch::Tensor Normalised(const torch::Tensor& x_bhwc) const;
  /// Undefined where there is none.
  const torch::Tensor& input_scale_c() const { return input_scale_c_; }
  const torch::Tensor& input_shift_c() const { return input_shift_c_; }

  /// Which layers train by the packed kernels (ways.h); until it is called none does. Layers with owners do so once they are
  /// packed.
  void SetWays(const std::vector<LayerWay>& ways);
  /// Called with a parameter that was just packed, and what packs tensors that go with it.
  using OnPacked = std::function<void(const torch::Tensor&, const PackedWeightImpl::Repack&)>;
  /// Packs the weights of the layers that train packed and whose owners stay from `progress` (0 … 1) on. Between steps.
  void PackFixedOwners(double progress, const OnPacked& on_packed);
  /// All weights dense again.
  void Unpack();

  /// Several processes train this network: batch norm and duty cycles are then those of the joint
  /// batch in training. The group must outlive the network's last forward; null: one process.
  void SetProcessGroup(const ProcessGroup* group);

  /// The schedules of k-WTA for an epoch, 0-based; call before each epoch.
  void SetEpoch(int32_t epoch, int32_t epochs);

  const NetworkConfig& config() const { return config_; }
  std::vector<TrainedLayer> TrainedLayers() const;
  /// Weights of convolutions and linear layers (weight decay applies to these) and all other parameters.
  std::vector<torch::Tensor> DecayedParameters() const;
  std::vector<torch::Tensor> OtherParameters() const;
  /// Weights that may be non-zero, biases and batch norm not counted, and the same of the dense
  /// network.
  int64_t NonZeroWeights() const;
  int64_t DenseWeights() const;

  /// Lets layers that learn their owners do so: between backward and the optimiser's step; see
  /// PackedWeightImpl::LearnOwners.
  void LearnOwners(int64_t step, double progress, double learning_rate);

  /// What the layers are like at an epoch's end: density_<packed layer>, owner_changes_<layer that
  /// learns owners> (in this epoch), entropy_<k-WTA>, dead_<k-WTA>; fractions.
  struct Measure {
    std::string name;
    double value;
  };
  std::vector<Measure> Measures() const;
  /// Owner changes are counted from here on.
  void BeginEpoch();

 private:
  /// A layer: one of the modules, or the function of a layer without state.
  struct Stage {
    LayerConfig config;
    PackedWeight weights{nullptr};
    BatchNorm norm{nullptr};
    LayerNorm layer_norm{nullptr};
    Kwta kwta{nullptr};
    Function function = nullptr;
    bool packed = false;                ///< the way that it trains
    const LayerConfig* pool = nullptr;  ///< the max-pool after it that a packed batch norm does too
    std::vector<size_t>
        last_read;  ///< values that no layer after this one reads; 0 = the input, i + 1 = of layer i
  };
  torch::Tensor RunStage(Stage& stage, Inputs x);
  bool RunsByKernels(const Stage& stage, const torch::Tensor& x) const;

  NetworkConfig config_;
  std::vector<Stage> stages_;
  torch::Tensor input_scale_c_, input_shift_c_;
};
TORCH_MODULE(Network);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_NETWORK_H_
