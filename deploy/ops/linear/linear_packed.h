// SPDX-License-Identifier: Apache-2.0
// Linear layer with packed weights:
//
//   y[o] = bias[o] + Σ over inputs p owned by o of weight[p] · x[p]
//
//   LinearPackedDenseF32    every input of `batch` samples. Weights are read once for a tile of samples. One sample is
//                           summed in the same order whatever the batch.
//   LinearPackedWinnersF32  winners of one sample. Owners may be arbitrary: the row of accumulators is small.
//
// Read first: deploy/ops/README.md, deploy/packed/layout.h. Lists: linear_packed_prepare.h.
// Tested in: linear_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_H_
#define BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_H_

#include <cstdint>

#include "deploy/ops/shared/winners.h"

namespace bisparse::kernels {

struct LinearPackedDenseF32Args {
  int32_t inputs = 0, outputs = 0;            ///< P, O
  int32_t set_size = 1, lanes = 1, sets = 1;  ///< S, L, N
  const float* weight = nullptr;              ///< PackedLists::WeightBase
  const float* bias_o = nullptr;              ///< [N·S·L]
  const int32_t* begin_b = nullptr;           ///< PackedLists; input_e is the input's index
  const int32_t* input_e = nullptr;
  const int32_t* weight_e = nullptr;
  int64_t batch = 1;
  const float* input = nullptr;  ///< [batch] rows of input_stride floats
  int64_t input_stride = 0;
  float* output =
      nullptr;  ///< [batch] rows of output_stride floats, the first `outputs` are written
  int64_t output_stride = 0;
};

void LinearPackedDenseF32(const LinearPackedDenseF32Args& args) noexcept;

struct LinearPackedWinnersF32Args {
  int32_t inputs = 0, outputs = 0;
  int32_t set_size = 1, lanes = 1, sets = 1;
  int32_t set_begin = 0,
          set_end = 0;  ///< sets to compute: output, bias_o and scratch are whole ones; 0, 0: all
  const float* weight_pnl = nullptr;  ///< in place
  const float* bias_o = nullptr;
  const uint8_t* owner_pn = nullptr;  ///< PackedLists; null where S = 1
  WinnersF32 winners;                 ///< all `count` of them; index = input
  float* output = nullptr;            ///< [outputs]
  float* scratch = nullptr;           ///< [LinearPackedScratchFloats], 64-byte aligned
};

/// N·S·L: the accumulators' row.
int64_t LinearPackedScratchFloats(int32_t set_size, int32_t lanes, int32_t sets) noexcept;

void LinearPackedWinnersF32(const LinearPackedWinnersF32Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_LINEAR_LINEAR_PACKED_H_
