// SPDX-License-Identifier: Apache-2.0
// Read first: linear_packed_prepare.h. Tested in: linear_packed_f32_test.cc.
#include "deploy/ops/linear/linear_packed_prepare.h"

#include <limits>

#include "deploy/base/check.h"

namespace bisparse::kernels {

PackedLists PrepareLinearPackedDenseF32(const packed::Layout& layout,
                                        std::span<const uint8_t> owner_nr,
                                        std::span<const float> weight_pnl) {
  BISPARSE_CHECK(layout.slots() <= std::numeric_limits<int32_t>::max());
  PackedLists lists;
  lists.begin_b.push_back(0);
  const int32_t lanes = layout.packing.lanes;
  for (int32_t n = 0; n < layout.sets; ++n) {
    for (int32_t s = 0; s < layout.packing.set_size; ++s) {
      for (int64_t p = 0; p < layout.positions; ++p) {
        if (layout.Owner(owner_nr, n, p) != s) continue;
        lists.input_e.push_back(static_cast<int32_t>(p));
        const int64_t slot = layout.Slot(p, n, 0);
        if (lanes <
            packed::kMaxLanes) {  // short rows lie far apart: copy them in the order of reading
          lists.weight_e.push_back(static_cast<int32_t>(lists.weight_copy.size()));
          for (int32_t l = 0; l < lanes; ++l) {
            lists.weight_copy.push_back(weight_pnl[static_cast<size_t>(slot + l)]);
          }
        } else {
          lists.weight_e.push_back(static_cast<int32_t>(slot));
        }
      }
      lists.begin_b.push_back(static_cast<int32_t>(lists.input_e.size()));
    }
  }
  return lists;
}

PackedLists PrepareLinearPackedWinnersF32(const packed::Layout& layout,
                                          std::span<const uint8_t> owner_nr) {
  PackedLists lists;
  if (layout.packing.set_size == 1) return lists;
  lists.owner_pn.reserve(static_cast<size_t>(layout.positions * layout.sets));
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t r = layout.RunOf(p);
    for (int32_t n = 0; n < layout.sets; ++n) {
      lists.owner_pn.push_back(static_cast<uint8_t>(layout.OwnerOfRun(owner_nr, n, r)));
    }
  }
  return lists;
}

}  // namespace bisparse::kernels
