// SPDX-License-Identifier: Apache-2.0
// Reference for the training kernels: straight from the formulas, in double, every kernel and every position.
//
//   |computed - exact| <= (K + 1)·eps·Σ|products|      K products of a sum, eps = 2^-24
//
// as in deploy/ops/shared/packed_ref.h: each multiply-add rounds once in any order of summation, without fused ones the
// product too.
#ifndef BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_REF_H_
#define BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_REF_H_

#include <cmath>
#include <vector>

#include "deploy/ops/shared/packed_ref.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// A sum of products with what bounds its error.
struct RefSum {
  double value = 0, magnitude = 0, products = 0;
  void Add(double product) {
    value += product;
    magnitude += std::abs(product);
    ++products;
  }
  double bound() const { return (products + 1) * 0x1p-24 * magnitude; }
};

struct TrainingRef {
  std::vector<RefSum> y_sqo;        ///< without bias; [samples][outputs][N·S·L]
  std::vector<RefSum> dweight_pnl;  ///< slots()
  std::vector<RefSum> dx_sqc;
  std::vector<RefSum> dbias_o;  ///< [N·S·L]
};

/// x [samples][H][W][C], dy [samples][OH][OW][N·S·L].
inline TrainingRef ComputeTrainingRef(const RandomLayer& layer, const packed::Window& w,
                                      const Shape& in, const Shape& out, int32_t samples,
                                      const std::vector<float>& x, const std::vector<float>& dy) {
  const packed::Layout& layout = layer.layout;
  const int64_t width = layout.outputs_padded();
  TrainingRef ref;
  ref.y_sqo.resize(static_cast<size_t>(samples * out.height * out.width * width));
  ref.dweight_pnl.resize(static_cast<size_t>(layout.slots()));
  ref.dx_sqc.resize(x.size());
  ref.dbias_o.resize(static_cast<size_t>(width));
  for (int32_t b = 0; b < samples; ++b) {
    for (int32_t oy = 0; oy < out.height; ++oy) {
      for (int32_t ox = 0; ox < out.width; ++ox) {
        const int64_t q = ((int64_t{b} * out.height + oy) * out.width + ox) * width;
        for (int64_t o = 0; o < width; ++o) {
          ref.dbias_o[static_cast<size_t>(o)].Add(double{dy[static_cast<size_t>(q + o)]});
        }
        for (int64_t p = 0; p < layout.positions; ++p) {
          const int32_t taps = layout.shape.kernel_h * layout.shape.kernel_w;
          const int32_t tap = static_cast<int32_t>(p % taps), c = static_cast<int32_t>(p / taps);
          const int32_t y = oy * w.stride_h - w.pad_h + tap / layout.shape.kernel_w * w.dilation_h;
          const int32_t column =
              ox * w.stride_w - w.pad_w + tap % layout.shape.kernel_w * w.dilation_w;
          if (y < 0 || y >= in.height || column < 0 || column >= in.width) continue;
          const auto at = static_cast<size_t>(
              ((int64_t{b} * in.height + y) * in.width + column) * in.channels + c);
          for (int32_t n = 0; n < layout.sets; ++n) {
            for (int32_t l = 0; l < layout.packing.lanes; ++l) {
              const auto slot = static_cast<size_t>(layout.Slot(p, n, l));
              const auto o = static_cast<size_t>(q + layout.Output(n, layer.Owner(n, p), l));
              const double weight = layer.weight_pnl[slot];
              ref.y_sqo[o].Add(weight * x[at]);
              ref.dweight_pnl[slot].Add(double{x[at]} * dy[o]);
              ref.dx_sqc[at].Add(weight * dy[o]);
            }
          }
        }
      }
    }
  }
  return ref;
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_REF_H_
