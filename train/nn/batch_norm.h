// SPDX-License-Identifier: Apache-2.0
// Batch normalisation over the channels of maps and of flat values alike.
//
//   y = (x − mean_c) / √(variance_c + ε) · scale_c + shift_c        x: [B][C][H][W] or [B][C]
//
// mean and variance are those of the batch in training, the running ones in evaluation.
// Read first: train/parallel/process_group.h (the joint batch of several processes). Tested in: network_test.cc.
#ifndef BISPARSE_TRAIN_NN_BATCH_NORM_H_
#define BISPARSE_TRAIN_NN_BATCH_NORM_H_

#include <torch/torch.h>

#include "train/config/config.h"
#include "train/parallel/process_group.h"

namespace bisparse::train {

/// One class where LibTorch has one for maps and another for flat values. Parameters (weight, bias) and buffers
/// (running_mean, running_var, num_batches_tracked) are called as there.
class BatchNormImpl : public torch::nn::Module {
 public:
  explicit BatchNormImpl(const LayerConfig& config);

  torch::Tensor forward(const torch::Tensor& x);
  /// In training, by the kernels of norm_pool.h where CanUseKernels: batch norm, then the pool where it is not null.
  torch::Tensor ForwardByKernels(const torch::Tensor& x, const packed::Window* pool);
  bool CanUseKernels(const torch::Tensor& x) const;

  /// Statistics are then those of all processes together; null: of this one.
  void SetProcessGroup(const ProcessGroup* group) { group_ = group; }

  torch::Tensor weight, bias;  ///< scale and shift; undefined where the configuration says so
  torch::Tensor running_mean, running_var, num_batches_tracked;

 private:
  double momentum_, epsilon_;
  const ProcessGroup* group_ = nullptr;
};
TORCH_MODULE(BatchNorm);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_BATCH_NORM_H_
