// SPDX-License-Identifier: Apache-2.0
// Reference for convolutions and linear layers with packed weights: straight from the formula of
// deploy/packed/layout.h, in double, every kernel and every position, whoever owns it. Also makes
// random packed layers for tests.
//
//   |computed - exact| <= (K + 1)·eps·(|bias| + Σ|x·w|)
//
// K is the number of that output's products, eps = 2^-24 the unit roundoff of f32. Each of K multiply-adds and the sum
// with the bias rounds at most once per product in any order of summation. Without fused multiply-add a product rounds
// too, hence + 1.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_PACKED_REF_H_
#define BISPARSE_DEPLOY_OPS_SHARED_PACKED_REF_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "deploy/ops/shared/test_util.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// A random layer with packed weights; slots of empty kernels are zero.
struct RandomLayer {
  RandomLayer(const packed::KernelShape& shape, const packed::Packing& packing, Random& random)
      : layout(shape, packing) {
    for (int32_t n = 0; n < layout.sets && packing.set_size > 1; ++n) {
      for (int64_t r = 0; r < layout.runs; ++r) {
        owner_nr.push_back(static_cast<uint8_t>(random.Int(0, packing.set_size - 1)));
      }
    }
    weight_pnl.assign(static_cast<size_t>(layout.slots()), 0.0f);
    layout.ForEachSlot(owner_nr, [&](int64_t, int32_t, int32_t, int64_t, int64_t slot) {
      weight_pnl[static_cast<size_t>(slot)] = random.Normal();
    });
    bias_o = random.Normals(layout.outputs_padded());
    for (int64_t o = shape.outputs; o < layout.outputs_padded(); ++o)
      bias_o[static_cast<size_t>(o)] = 0.0f;
  }

  int32_t Owner(int32_t n, int64_t p) const { return layout.Owner(owner_nr, n, p); }
  std::string Text() const {
    const packed::KernelShape& k = layout.shape;
    return "outputs, channels, kernel = " +
           testing::PrintToString(std::vector<int>{k.outputs, k.channels, k.kernel_h, k.kernel_w}) +
           ", S, L, run channels, taps = " +
           testing::PrintToString(std::vector<int>{layout.packing.set_size, layout.packing.lanes,
                                                   layout.packing.run.channels,
                                                   static_cast<int>(layout.packing.run.taps)});
  }

  packed::Layout layout;
  std::vector<uint8_t> owner_nr;
  std::vector<float> weight_pnl, bias_o;
};

struct Exact {
  double value, bound;
};

/// Output o at (oy, ox) of x [input.height, input.width, input.channels].
inline Exact ExactOutput(const RandomLayer& layer, const packed::Window& window, const Shape& input,
                         const float* x, int32_t oy, int32_t ox, int32_t o) {
  const packed::Layout& layout = layer.layout;
  const auto [n, s, lane] = layout.PlaceOf(o);
  double sum = layer.bias_o[static_cast<size_t>(o)], magnitude = std::abs(sum), products = 0;
  for (int32_t c = 0; c < input.channels; ++c) {
    for (int32_t ky = 0; ky < window.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < window.kernel_w; ++kx) {
        const int64_t p = (int64_t{c} * window.kernel_h + ky) * window.kernel_w + kx;
        const int32_t y = oy * window.stride_h - window.pad_h + ky * window.dilation_h;
        const int32_t column = ox * window.stride_w - window.pad_w + kx * window.dilation_w;
        if (layer.Owner(n, p) != s) continue;
        if (y < 0 || y >= input.height || column < 0 || column >= input.width) continue;
        const double product = double{x[(int64_t{y} * input.width + column) * input.channels + c]} *
                               layer.weight_pnl[static_cast<size_t>(layout.Slot(p, n, lane))];
        sum += product;
        magnitude += std::abs(product);
        ++products;
      }
    }
  }
  return {sum, (products + 1) * 0x1p-24 * magnitude};
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_PACKED_REF_H_
