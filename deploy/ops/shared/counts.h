// SPDX-License-Identifier: Apache-2.0
// What entries count their work with. Read first: deploy/ops/kernel.h. Tested in: deploy/engine/cost_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_COUNTS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_COUNTS_H_

#include <algorithm>
#include <cmath>

#include "deploy/ops/conv/conv_packed_tile.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

inline constexpr double kLineBytes = 64;

inline double Ceil(double n, double of) { return std::ceil(n / of); }

/// A layer with weights as the counts take it.
struct Sizes {
  explicit Sizes(const packed::Layer& layer)
      : layout(layer.kernel(), layer.packing),
        window(layer.window),
        positions(double{1} * layer.output.height * layer.output.width),
        in_positions(double{1} * layer.input.height * layer.input.width),
        padded_positions((layer.input.height + 2.0 * window.pad_h) *
                         (layer.input.width + 2.0 * window.pad_w)),
        taps(double{1} * window.kernel_h * window.kernel_w),
        p(static_cast<double>(layout.positions)),
        o(layout.shape.outputs),
        o16(Ceil(o, 16) * 16),
        sets(layout.sets),
        s(layout.packing.set_size) {}
  /// Vectors of a row of L weights: the widest vector whose lanes divide L.
  double RowVectors(double width) const {
    const int32_t lanes = layout.packing.lanes & -layout.packing.lanes;
    return layout.packing.lanes / std::min<double>(width, lanes);
  }
  /// Lines of f32 weights in packed order.
  double packed_lines() const { return p * sets * layout.packing.lanes * 4 / kLineBytes; }
  packed::Layout layout;
  packed::Window window;
  double positions, in_positions, padded_positions, taps, p, o, o16, sets, s;
};

/// Tiles of a row of output columns, and columns of each.
struct Tiles {
  explicit Tiles(int32_t columns)
      : width(kernels::ChooseTileColumns(std::max(columns, 1))), count(Ceil(columns, width)) {}
  double width, count;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_SHARED_COUNTS_H_
