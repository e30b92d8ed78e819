// SPDX-License-Identifier: Apache-2.0
// Mixup (Zhang et al. 2018): sample b is mixed with sample B−1−b of its batch, whose order is random:
//   x ← λ·x + (1 − λ)·x reversed,  loss ← λ·loss(y) + (1 − λ)·loss(y reversed)
// with λ ~ Beta(α, α), the larger part of the two, one a batch. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_MIXUP_H_
#define BISPARSE_TRAIN_LOOP_MIXUP_H_

#include <cstdint>

namespace bisparse::train {

/// λ in [½, 1]; 1 where alpha is 0. Pure in (seed, step).
double DrawMixup(double alpha, uint64_t seed, int64_t step);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_MIXUP_H_
