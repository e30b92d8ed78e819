// SPDX-License-Identifier: Apache-2.0
// Lists that kernels on packed weights walk: made once when a network is loaded, so that no kernel
// looks for owners.
//
// Owner-major: for every kernel block b = n·S + s, the entries e in begin_b[b] … begin_b[b + 1)
// whose owner it is. An entry says where its inputs lie (input_e) and where its row of L weights
// lies (weight_e); what the numbers are relative to is said where a kernel takes them. The order of
// entries is the order of summation.
// Read first: deploy/packed/layout.h.
// Tested in: deploy/ops/conv/conv_packed_f32_test.cc, deploy/ops/linear/linear_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_PACKED_LISTS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_PACKED_LISTS_H_

#include <cstdint>
#include <vector>

namespace bisparse::kernels {

struct PackedLists {
  std::vector<int32_t> begin_b;   ///< [N·S + 1]
  std::vector<int32_t> input_e;   ///< offset of an entry's input
  std::vector<int32_t> weight_e;  ///< offset of an entry's weights from the base below
  std::vector<float>
      weight_copy;  ///< weights in the order of entries where rows are too short to read in place
  std::vector<uint8_t>
      owner_pn;  ///< [P·N] owner of every position: for winners with arbitrary owners

  /// What weight_e counts from: the copy, or the model's own weights, used in place.
  const float* WeightBase(const float* weight_pnl) const {
    return weight_copy.empty() ? weight_pnl : weight_copy.data();
  }
  int64_t bytes() const {
    return static_cast<int64_t>(
        4 * (begin_b.size() + input_e.size() + weight_e.size() + weight_copy.size()) +
        owner_pn.size());
  }
};

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_PACKED_LISTS_H_
