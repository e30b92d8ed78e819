// SPDX-License-Identifier: Apache-2.0
// Select, in training: exactly k units survive after ReLU, the others are zero.
//
//   r = max(x, 0)                                   x: NCHW map or NC vector
//   unit u = `chunk` neighbouring channels, rank_u = Σ r over the unit (in channel order, f32)
//   score_u = rank_u · exp(β · (target duty − duty_u))          boosting: ranks only, training only
//           · exp(σ · g),  g normal for each sample and unit    noise: likewise
//   y = r where the unit is among the winners/groups best of its group, else 0
//   dx = dy where y > 0, else 0                     gradients pass through winners only
//
// While training begins losers may leak (y = leak · r for them), and k may jitter.
//
// Candidates: the units of a group at one position (local) or at all positions (global). Ties go to
// the lowest channels-last index, as in deployment (deploy/ops/kwta). NaN wins, so that it
// stays visible in the loss. Read first: docs/notation.md. Tested in: sparse_test.cc. Source:
// Hunter, Spracklen, Ahmad 2022, section 2 (k-WTA); Ahmad, Scheinkman 2019 (boosting with duty
// cycles).
#ifndef BISPARSE_TRAIN_NN_KWTA_H_
#define BISPARSE_TRAIN_NN_KWTA_H_

#include <torch/torch.h>

#include <cstdint>

#include "deploy/packed/model.h"
#include "train/config/config.h"
#include "train/parallel/process_group.h"

namespace bisparse::train {

/// boost: factors on the ranks, [U] or one row for each sample [B][U] (U = channels / chunk, the units of a position):
/// exp(β·(target − duty)), the ranking's noise; undefined = none. Returns y, shaped like x. A map comes back in
/// channels-last memory. Differentiable with respect to x. On the CPU a loop of its own over f32; other devices and types
/// go through torch::sort, with the same bits.
/// wins_u, where it is not null and a unit is one channel: how many winners above zero each unit has in the batch (i64 [U]);
/// undefined where the loop does not count them.
torch::Tensor ApplyKwta(const torch::Tensor& x, const packed::Kwta& kwta,
                        const torch::Tensor& boost = {}, torch::Tensor* wins_u = nullptr);

/// The torch::sort form of ApplyKwta on any device; not differentiable. Public for the tests.
torch::Tensor ApplyKwtaBySort(const torch::Tensor& x, const packed::Kwta& kwta,
                              const torch::Tensor& boost);

/// k-WTA as a layer with its schedules. Buffers: duty_u (f32, channels/chunk), the running fraction
/// of positions that unit u won with a value above zero: d ← (d·(period − B) + wins)/period for a
/// batch of B samples. Only training anneals: in evaluation the deployed number of winners is in
/// force from the first epoch on, so that validation always measures, and the best checkpoint
/// always holds, the network that would be deployed.
class KwtaImpl : public torch::nn::Module {
 public:
  KwtaImpl(const KwtaConfig& config, int64_t channels, int64_t positions);

  torch::Tensor forward(const torch::Tensor& x);

  /// Sets winners (WinnersAt), β (BoostAt), σ (NoiseAt) and the leak (LeakAt) for an epoch, 0-based, of `epochs`.
  void SetEpoch(int32_t epoch, int32_t epochs);
  /// Duty cycles are then those of all processes together; null: of this one.
  void SetProcessGroup(const ProcessGroup* group) { group_ = group; }
  /// The k-WTA that trains now; its winners are the deployed number once annealing is over.
  const packed::Kwta& kwta() const { return kwta_; }
  double boost() const { return boost_; }
  double noise() const { return noise_; }
  const torch::Tensor& duty() const { return duty_u_; }
  /// Part of the units that win less than a hundredth of what they should.
  double DeadUnits() const;
  /// Entropy of the duty cycles over its maximum: 1 = all units win equally often. Needs one host
  /// sync.
  double NormalisedEntropy() const;

 private:
  double TargetDuty() const;
  packed::Kwta Jittered() const;
  /// wins_u: of y, undefined where they have not been counted.
  void UpdateDuty(const torch::Tensor& y, const torch::Tensor& wins_u);

  KwtaConfig config_;
  packed::Kwta kwta_;
  double boost_ = 0.0, noise_ = 0.0, leak_ = 0.0;
  int64_t positions_;
  torch::Tensor duty_u_;
  const ProcessGroup* group_ = nullptr;
};
TORCH_MODULE(Kwta);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_KWTA_H_
