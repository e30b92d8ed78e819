// SPDX-License-Identifier: Apache-2.0
// Winners of a map: what k-WTA (select) leaves of it, as a list that the next layer multiplies
// with.
//
//   value_k[i] = map[index_k[i]],  index_k ascending,  index = (y·W + x)·C + c (channels last)
//
// Every other element of the map is 0. A convolution finds the winners of position q = y·W + x at
// index_k[begin(q) … begin(q + 1)):
//   local scope:   begin(q) = q·per_position (begin_p is null)
//   global scope:  begin(q) = begin_p[q], H·W + 1 entries
// A linear layer reads all `count` of them. Winners may have the value zero.
// Read first: docs/packing.md.
// Tested in: deploy/ops/kwta/kwta_f32_test.cc, deploy/ops/conv/conv_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_WINNERS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_WINNERS_H_

#include <cstdint>

namespace bisparse::kernels {

struct WinnersF32 {
  const int32_t* index_k = nullptr;
  const float* value_k = nullptr;
  int64_t count = 0;                 ///< of the whole map
  int32_t per_position = 0;          ///< constant number at each position; 0 if begin_p says it
  const int32_t* begin_p = nullptr;  ///< [H·W + 1], global scope before a convolution
};

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_WINNERS_H_
