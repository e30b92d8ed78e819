// SPDX-License-Identifier: Apache-2.0
// Combine, in training: a convolution or linear layer whose weights are non-zero only where their
// kernel owns the position.
//
//   y = conv(x, weight_op ⊙ mask_op) + bias     mask_op[o][p] = 1 where s(o) = owner[n(o)][run(p)], else 0
//
// With static owners the product keeps gradients off the mask as well, so masked weights, which
// begin at zero, stay exactly zero under every optimiser. Learned owners: every weight lives, the
// mask of training keeps the kernels with the largest weights in each run, and gradients pass
// straight through it (SR-STE: Zhou et al. 2021, section 4); how many are kept falls from S to 1.
// RigL (Evci et al. 2020): weak owners hand their runs to the kernel with the largest gradient.
// Evaluation and export always see one owner for each run. weight is row-major [O][P] with p = (c·kh + ky)·kw + kx, as
// in deploy/packed/layout.h; the packed order is the exporter's business. A layer with set_size 1
// has neither owners nor mask.
//
// Once owners are fixed, a layer may keep its weights in the packed order, [P][N][L]: what is not owned is gone, and the
// kernels of packed_layer.h compute it (`Pack`). `weight` is then that tensor, the same parameter with another shape.
// Read first: deploy/packed/layout.h. Tested in: sparse_test.cc, packed_layer_test.cc.
#ifndef BISPARSE_TRAIN_NN_PACKED_WEIGHT_H_
#define BISPARSE_TRAIN_NN_PACKED_WEIGHT_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/layout.h"
#include "train/config/config.h"
#include "train/nn/packed_layer.h"

namespace bisparse::train {

/// f32 [O][P], 1 where kept_nsr ([N][S][R], f32, 0 or 1) keeps the weight's kernel block in its run.
torch::Tensor MaskFromKept(const packed::Layout& layout, const torch::Tensor& kept_nsr);

/// f32 [O][P] on the CPU, 1 where the weight may be non-zero. `owner_nr`: layout.owners() entries.
torch::Tensor MaskFromOwners(const packed::Layout& layout, std::span<const uint8_t> owner_nr);

/// conv2d, depthwise_conv2d or linear of `config`, dense or packed. Parameters: weight
/// ([O][C][kh][kw] with the kernel's channels C, or [O][I]) and
/// bias; buffers of a packed layer: owner_nr (u8) and mask (like weight); where owners are learned
/// also kept (like weight; training's mask) and epoch_owner_nr (owner_nr when the epoch began). The
/// first owners are drawn from (seed, layer name); weights are initialised uniformly within ±sqrt(6 / fan_in) (He et al.
/// 2015) with the real fan_in = P / S, biases are zero.
class PackedWeightImpl : public torch::nn::Module {
 public:
  PackedWeightImpl(const LayerConfig& config, uint64_t seed);

  /// x: a map or a flat value (shapes.h); linear reads a map's elements in the order of flatten.
  torch::Tensor forward(const torch::Tensor& x);

  /// Between backward and the optimiser's step: chooses owners where it is time, keeps gradients off
  /// what may not move. `step` from 0; `progress`: part of the training, 0 … 1.
  void LearnOwners(int64_t step, double progress, double learning_rate);
  bool LearnsOwners() const { return owners_ != OwnerRule::kStatic; }
  /// Part of the weights that training multiplies with: 1/S once owners are alone.
  double KeptDensity() const;
  /// Part of the runs whose owner differs from that at the last BeginEpoch.
  double OwnerChanges() const;
  void BeginEpoch();

  /// Whether its weights can be packed at all: owners, and kernels for it.
  bool CanPack() const { return HasKernels() && owner_nr_.defined(); }
  /// Whether owners stay from `progress` on, in what is multiplied with too.
  bool OwnersAreFixed(double progress) const;
  bool IsPacked() const { return weight.dim() == 3; }
  /// From weights in the shape of `weight` to packed ones, moments and averages too. Owners must be fixed.
  using Repack = std::function<torch::Tensor(const torch::Tensor&)>;
  /// Packs `weight`, after which its gradient is undefined. Returns what packs other tensors of the same shape.
  Repack Pack();
  /// Back to dense weights, zero where nothing is owned; nothing where they are not packed.
  void Unpack();
  /// Whether the input's producer stops gradients where it gave zero: packed_layer.h.
  void SetGated(bool gated) { gated_ = gated; }

  /// The weights that the layer multiplies with, [O][P] on the CPU, masked ones +0.
  torch::Tensor MaskedWeight() const;
  /// Owners as deployed, layout().owners() entries; empty for a dense layer.
  std::vector<uint8_t> Owners() const;
  const packed::Layout& layout() const { return layout_; }
  const LayerConfig& config() const { return config_; }
  torch::Tensor weight,
      bias;  ///< see the top of this file; bias is undefined where the configuration says so

 private:
  torch::Tensor Saliency(const torch::Tensor& weight_op) const;
  void SetOwners(const torch::Tensor& owner_nr);
  void ChooseByWeight(double progress, double decay);
  void HandOver(double progress);

  bool HasKernels() const { return groups_ == 1; }

  LayerConfig config_;
  bool convolution_;
  bool gated_ = false;
  PreparedLayer prepared_;  ///< made when packed weights are first read
  int64_t groups_;          ///< depthwise: one for each channel
  packed::Window window_;
  packed::Layout layout_;
  OwnerRule owners_;
  OwnerLearning learning_;
  torch::Tensor owner_nr_, mask_, kept_, epoch_owner_nr_;
};
TORCH_MODULE(PackedWeight);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_PACKED_WEIGHT_H_
