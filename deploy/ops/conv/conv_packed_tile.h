// SPDX-License-Identifier: Apache-2.0
// How many output columns stand in registers at once, and how a row is cut into such tiles. Where a
// width does not divide, the last tile overlaps the one before: an output is summed in the same
// order in any tile, so its bits agree. Tested in: conv_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_TILE_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_TILE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/ops/conv/conv_packed.h"

namespace bisparse::kernels {

/// The map with zeros around it: `input` where there is no padding, else its padded rows begin … end - 1 in scratch.
inline const float* PadInput(const ConvPackedDenseF32Args& a, int32_t begin, int32_t end) {
  const ConvPackedShape& s = a.plan.shape;
  if (s.pad_h == 0 && s.pad_w == 0) return a.input;
  const int64_t row = int64_t{s.in_w} * s.in_c, side = int64_t{s.pad_w} * s.in_c;
  const int64_t padded_row = row + 2 * side;
  for (int32_t y = begin; y < end; ++y) {
    float* to = a.scratch + y * padded_row;
    const int32_t in_y = y - s.pad_h;
    if (in_y < 0 || in_y >= s.in_h) {
      std::fill_n(to, padded_row, 0.0f);
    } else {
      std::fill_n(to, side, 0.0f);
      std::memcpy(to + side, a.input + in_y * row, static_cast<size_t>(row) * sizeof(float));
      std::fill_n(to + side + row, side, 0.0f);
    }
  }
  return a.scratch;
}

/// 10, 8, 5, 4, 2 or 1, at most `columns`. A tile costs about its columns plus four for addresses
/// and edges.
inline int32_t ChooseTileColumns(int32_t columns) {
  int32_t best = 1;
  int64_t best_cost = int64_t{columns} * 5;
  for (const int32_t tile : {10, 8, 5, 4, 2}) {
    const int64_t cost = int64_t{(columns + tile - 1) / tile} * (tile + 4);
    if (tile <= columns && cost < best_cost) {
      best = tile;
      best_cost = cost;
    }
  }
  return best;
}

/// First column of the tile after the one at x; `columns` at the end.
inline int32_t NextTile(int32_t x, int32_t tile, int32_t columns) {
  return x + tile == columns ? columns : std::min(x + tile, columns - tile);
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_TILE_H_
