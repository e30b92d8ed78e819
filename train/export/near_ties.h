// SPDX-License-Identifier: Apache-2.0
// Finds samples in which rounding alone could swap a winner and a loser of a k-WTA layer. Two
// correct programs that sum in different orders may disagree on those, so the exporter counts them
// apart.
//
// For each value y = Σ_k w_k·x_k + b with n terms that are not zero, each program's rounding error is below δ(y):
//
//   layer with weights  δ(y) = λ·u·√(n + 2)·(Σ|w_k·x_k| + |b|) + √(Σ w_k²·δ(x_k)²)
//   add                 δ(y) = Σ δ(x_i) + λ·u·√(n − 1)·Σ|x_i|
//   activation          δ(y) = slope·δ(x) + λ·u·(|x| + |y|), where x and 1 + erf(x) may cancel
//   layer_norm          δ(y) = |gain|·(r·(δ' + mean δ' + |z|·√(mean δ'²)) + λ·u·√(C + 4)·|z|) + λ·u·(|y| + |bias|) with
//                       r = 1/√(variance + epsilon), z = r·(x − mean), δ' = δ(x) + λ·u·(|x| + √(C + 4)·mean |x|)
//   multiply            δ(y) = Π(|x_i| + δ(x_i)) − Π|x_i| + λ·u·√(n − 1)·|y|
//
// with u = 2⁻²⁴ and λ = 5. That is the probabilistic bound of Higham and Mary 2019 (theorem 2.4, rounding errors as
// independent random variables). It fails with a probability below 2·exp(−λ²/2) for each value. Errors of a kernel's
// inputs are added as independent ones. Those of branches that join are not independent, since branches share producers:
// they add up.
//
// A sample is nearly tied where a loser's x + 2δ exceeds a winner's x − 2δ (δ for each of the two programs), unless the
// loser is within 2δ of zero: then swapping it in adds nothing above rounding.
// Source: Higham, Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41 (2019).
// Tested in: export_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_NEAR_TIES_H_
#define BISPARSE_TRAIN_EXPORT_NEAR_TIES_H_

#include <torch/torch.h>

#include <vector>

#include "train/nn/network.h"

namespace bisparse::train {

struct TracedForward {
  torch::Tensor logits_bo;      ///< f32 on the CPU
  torch::Tensor nearly_tied_b;  ///< bool on the CPU: some k-WTA layer's choice is within rounding
};

/// Evaluates x_bhwc and bounds the rounding of every layer on the way. The network must be in
/// evaluation mode.
TracedForward ForwardWithNearTies(Network& network, const torch::Tensor& x_bhwc);

/// Which samples have, in one k-WTA layer with input x and bounds delta (NCHW or NC), a loser
/// within rounding of a winner. Public for the tests.
torch::Tensor NearlyTied(const torch::Tensor& x, const torch::Tensor& delta,
                         const packed::Kwta& kwta);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_NEAR_TIES_H_
