// SPDX-License-Identifier: Apache-2.0
// Everything between int8 layers: k-WTA and pools on u8 maps, and linear layers that read winners.
// Winners: index_k ascending, index (y·W + x)·C + c as in winners.h; value_k the map's u8.
// Tested in: winners_i8_test.cc.
#ifndef BISPARSE_DEPLOY_KERNELS_WINNERS_I8_H_
#define BISPARSE_DEPLOY_KERNELS_WINNERS_I8_H_

#include <cstdint>

#include "deploy/kernels/kwta.h"
#include "deploy/kernels/pool_f32.h"

namespace bisparse::kernels {

struct KwtaU8Args {
  const uint8_t* x = nullptr;  ///< [positions, channels]
  int32_t positions = 0, channels = 0;
  int32_t winners = 1, groups = 1, chunk = 1;
  bool global = false;
  int32_t* index_k = nullptr;  ///< kwta.h's count, and kKwtaSlack
  uint8_t* value_k = nullptr;
};
/// Exactly the winners that kwta.h describes, ranked by u8 (the sum of a chunk's); ties to the lowest index.
void KwtaU8(const KwtaU8Args& args) noexcept;
void ScatterWinnersU8(const int32_t* index_k, const uint8_t* value_k, int64_t count, uint8_t* dense,
                      int64_t elements) noexcept;

/// Pooled maps, channels last; the average rounds half up. Padding is left out.
void MaxPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept;
void AvgPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept;

/// acc[o] = bias_o[o] + Σ over winners p owned by o of weight[p] · x[p]: each winner's packed row of N·L weights is added
/// to the sums of its owners. Bound: load, widen, multiply-add and store for 16 weights.
struct LinearWinnersI8Args {
  int32_t set_size = 1, lanes = 1, sets = 1;  ///< S, L, N
  const int8_t* weight_pnl = nullptr;         ///< in place
  const int32_t* bias_o = nullptr;            ///< [N·S·L]
  const int32_t* row_pn =
      nullptr;  ///< [P·N] first output of the owner: (n·S + owner)·L; null where S = 1
  const int32_t* index_k = nullptr;  ///< null: input i is winner i
  const uint8_t* value_k = nullptr;
  int64_t count = 0;
  int32_t* acc = nullptr;  ///< [N·S·L]
};
void LinearWinnersI8(const LinearWinnersI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_KERNELS_WINNERS_I8_H_
