// SPDX-License-Identifier: Apache-2.0
// For AVX2, which has no compress: of the eight lanes of a register, the ones of each mask, in order.
// Highway's own table is local to its function, and g++ 12 copies its 2 KB to the stack at each call.
// Tested in: deploy/ops/kwta/kwta_f32_test.cc.
#ifndef BISPARSE_DEPLOY_SIMD_COMPRESS_TABLE_H_
#define BISPARSE_DEPLOY_SIMD_COMPRESS_TABLE_H_

#include <array>
#include <cstdint>

namespace bisparse::kernels {

/// Byte j of entry m: the j-th lane whose bit is set in m; 0 past the last.
inline constexpr std::array<uint64_t, 256> kCompressLanes = [] {
  std::array<uint64_t, 256> table{};
  for (uint32_t mask = 0; mask < 256; ++mask) {
    uint32_t found = 0;
    for (uint64_t lane = 0; lane < 8; ++lane) {
      if ((mask >> lane & 1) != 0) table[mask] |= lane << 8 * found++;
    }
  }
  return table;
}();

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_SIMD_COMPRESS_TABLE_H_
