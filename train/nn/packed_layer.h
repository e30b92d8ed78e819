// SPDX-License-Identifier: Apache-2.0
// A convolution or linear layer in training on packed weights: the kernels of deploy/ops/training as functions that
// LibTorch differentiates.
//
//   y = conv(x, weight_pnl) + bias      x: a map (NCHW, channels last in memory) or flat; weight_pnl: [P][N][L]
//
// A gated input is one whose producer lets no gradient pass where it gave zero, as k-WTA and ReLU do: the kernels read the
// inputs that are not zero, and give the gradient there alone. It is zero elsewhere, as it would become in the producer.
// The samples and the channels are split over LibTorch's threads; any number of them gives the same bits.
// Read first: deploy/ops/training/winners_training_f32.h. Tested in: packed_layer_test.cc.
#ifndef BISPARSE_TRAIN_NN_PACKED_LAYER_H_
#define BISPARSE_TRAIN_NN_PACKED_LAYER_H_

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>

#include "deploy/ops/training/training_prepare.h"
#include "train/config/config.h"

namespace bisparse::train {

/// What the kernels need of a layer whose owners are fixed.
using PreparedLayer = std::shared_ptr<const kernels::PreparedTraining>;
PreparedLayer PrepareLayer(const LayerConfig& config, const packed::Layout& layout,
                           std::span<const uint8_t> owner_nr);

/// y of x; f32 on the CPU. bias: [O], or undefined. Differentiable with respect to x, weight_pnl and bias.
torch::Tensor ApplyPackedLayer(const PreparedLayer& layer, const torch::Tensor& x,
                               const torch::Tensor& weight_pnl, const torch::Tensor& bias,
                               int64_t outputs, bool gated);

/// weight_op ([O][P] in any shape) in the packed order [P][N][L]; empty kernels and what is not owned are left out.
torch::Tensor PackTensor(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                         const torch::Tensor& weight_op);
/// The inverse: [O][P], zero where nothing is owned.
torch::Tensor UnpackTensor(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                           const torch::Tensor& weight_pnl);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_PACKED_LAYER_H_
