// SPDX-License-Identifier: Apache-2.0
// Read first: pack.h, layout.h.
#include "deploy/packed/pack.h"

#include <algorithm>

#include "deploy/base/check.h"

namespace bisparse::packed {
namespace {

void CheckOwners(const Layout& layout, std::span<const uint8_t> owner_nr) {
  BISPARSE_CHECK(static_cast<int64_t>(owner_nr.size()) == layout.owners());
}

}  // namespace

std::vector<float> Pack(const Layout& layout, std::span<const float> weight_op,
                        std::span<const uint8_t> owner_nr) {
  BISPARSE_CHECK(static_cast<int64_t>(weight_op.size()) == layout.shape.weights());
  CheckOwners(layout, owner_nr);
  std::vector<float> weight_pnl(layout.slots(), 0.0f);
  for (int64_t o = 0; o < layout.shape.outputs; ++o) {
    const auto [n, s, l] = layout.PlaceOf(o);
    for (int64_t p = 0; p < layout.positions; ++p) {
      const float weight = weight_op[o * layout.positions + p];
      const int32_t owner = layout.Owner(owner_nr, n, p);
      if (owner == s) {
        weight_pnl[layout.Slot(p, n, l)] = weight;
      } else if (weight != 0.0f) {  // NaN too
        Fail(ErrorKind::kInternal, "pack",
             "output {}, position {} is {}, but kernel {} of set {} owns the position, not kernel "
             "{}: the "
             "weight must be 0",
             o, p, weight, owner, n, s);
      }
    }
  }
  return weight_pnl;
}

std::vector<float> Unpack(const Layout& layout, std::span<const float> weight_pnl,
                          std::span<const uint8_t> owner_nr) {
  BISPARSE_CHECK(static_cast<int64_t>(weight_pnl.size()) == layout.slots());
  CheckOwners(layout, owner_nr);
  std::vector<float> weight_op(layout.shape.weights(), 0.0f);
  layout.ForEachSlot(owner_nr, [&](int64_t p, int32_t, int32_t, int64_t o, int64_t slot) {
    weight_op[o * layout.positions + p] = weight_pnl[slot];
  });
  return weight_op;
}

int64_t CountOwned(const Layout& layout, std::span<const uint8_t> owner_nr) {
  CheckOwners(layout, owner_nr);
  int64_t count = 0;
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t r = layout.RunOf(p);
    for (int32_t n = 0; n < layout.sets; ++n) {
      const int64_t first = layout.Output(n, layout.OwnerOfRun(owner_nr, n, r), 0);
      count += std::clamp<int64_t>(layout.shape.outputs - first, 0, layout.packing.lanes);
    }
  }
  return count;
}

void ValidateOwners(const Layout& layout, std::span<const uint8_t> owner_nr,
                    const std::string& location) {
  if (static_cast<int64_t>(owner_nr.size()) != layout.owners()) {
    Fail(ErrorKind::kData, location, "{} owners, {} sets of {} runs want {}", owner_nr.size(),
         layout.sets, layout.runs, layout.owners());
  }
  if (owner_nr.empty()) return;
  for (int32_t n = 0; n < layout.sets; ++n) {
    for (int64_t r = 0; r < layout.runs; ++r) {
      const int32_t owner = layout.OwnerOfRun(owner_nr, n, r);
      if (owner < layout.packing.set_size) continue;
      Fail(ErrorKind::kData, location, "owner of set {}, run {} is {}, set size is {}", n, r, owner,
           layout.packing.set_size);
    }
  }
}

}  // namespace bisparse::packed
