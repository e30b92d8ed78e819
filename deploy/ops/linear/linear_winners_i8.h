// SPDX-License-Identifier: Apache-2.0
// A linear layer with packed weights that reads winners (winners.h), any owners.
// Tested in: linear_winners_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_WINNERS_I8_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_WINNERS_I8_H_

#include <cstdint>

namespace bisparse::kernels {

/// acc[o] = bias_o[o] + Σ over winners p owned by o of weight[p] · x[p]: each winner's packed row of N·L weights is added
/// to the sums of its owners. Bound: load, widen, multiply-add and store for 16 weights.
struct LinearWinnersI8Args {
  int32_t set_size = 1, lanes = 1, sets = 1;  ///< S, L, N
  const int8_t* weight_pnl = nullptr;         ///< in place
  const int32_t* bias_o = nullptr;            ///< [N·S·L]
  const uint16_t* owner_pn =
      nullptr;  ///< [P·N] n·S + owner, so that its sums begin at L times that; null where S = 1
  const int32_t* index_k = nullptr;  ///< null: input i is winner i
  const uint8_t* value_k = nullptr;
  int64_t count = 0;
  int32_t* acc = nullptr;  ///< [N·S·L]
};
void LinearWinnersI8(const LinearWinnersI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_WINNERS_I8_H_
