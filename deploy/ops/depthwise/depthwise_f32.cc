// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on every SIMD target. Read first: depthwise_f32.h.
// Tested in: depthwise_f32_test.cc.
#include "deploy/ops/depthwise/depthwise_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/depthwise/depthwise_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// A window: the taps [ky0, ky1) × [kx0, kx1) that lie inside of the map, x of tap (0, 0), and floats from a tap to the next
/// one.
struct Taps {
  int64_t ky0, ky1, kx0, kx1;
  const float* x;
  int64_t down, right;
};

/// Of `taps` places from `first` on, `step` apart: how many lie before `end`.
HWY_INLINE int64_t TapsBefore(int64_t end, int64_t first, int64_t step, int64_t taps) {
  if (first >= end) return 0;
  return std::min(step == 1 ? end - first : (end - first - 1) / step + 1, taps);
}

/// Channels [c, c + kVectors·Lanes(d)) of one output position.
template <int kVectors, class D>
HWY_ATTR HWY_INLINE void Vectors(D d, const DepthwiseF32Args& a, const Taps& taps, int64_t c,
                                 float* y_c) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::LoadU(d, a.bias_c + c + v * lanes);
  for (int64_t ky = taps.ky0; ky < taps.ky1; ++ky) {
    for (int64_t kx = taps.kx0; kx < taps.kx1; ++kx) {
      const float* x = taps.x + ky * taps.down + kx * taps.right + c;
      const float* weight = a.weight_pc + (ky * a.shape.kernel_w + kx) * a.weight_stride + c;
      for (int v = 0; v < kVectors; ++v) {
        sum[v] = hn::MulAdd(hn::LoadU(d, x + v * lanes), hn::LoadU(d, weight + v * lanes), sum[v]);
      }
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    if (a.relu) sum[v] = hn::Max(sum[v], hn::Zero(d));
    hn::StoreU(sum[v], d, y_c + c + v * lanes);
  }
}

HWY_ATTR void Depthwise(const DepthwiseF32Args& a) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const PoolShape& s = a.shape;
  const int64_t out_w = s.out_w(), channels = s.channels;
  for (int64_t yo = a.row_begin; yo < a.row_end; ++yo) {
    const int64_t y = yo * s.stride_h - s.pad_h;
    const int64_t ky0 = TapsBefore(0, y, s.dilation_h, s.kernel_h);
    const int64_t ky1 = TapsBefore(s.in_h, y, s.dilation_h, s.kernel_h);
    for (int64_t xo = 0; xo < out_w; ++xo) {
      const int64_t x = xo * s.stride_w - s.pad_w;
      const Taps taps{.ky0 = ky0,
                      .ky1 = ky1,
                      .kx0 = TapsBefore(0, x, s.dilation_w, s.kernel_w),
                      .kx1 = TapsBefore(s.in_w, x, s.dilation_w, s.kernel_w),
                      .x = a.x_yxc + (y * s.in_w + x) * channels,
                      .down = int64_t{s.dilation_h} * s.in_w * channels,
                      .right = s.dilation_w * channels};
      float* y_c = a.y_yxc + (yo * out_w + xo) * channels;
      int64_t c = 0;
      for (; c + 4 * lanes <= channels; c += 4 * lanes) Vectors<4>(d, a, taps, c, y_c);
      for (; c + lanes <= channels; c += lanes) Vectors<1>(d, a, taps, c, y_c);
      for (; c < channels; ++c) Vectors<1>(d1, a, taps, c, y_c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Depthwise);

void DepthwiseF32(const DepthwiseF32Args& args) noexcept { HWY_DYNAMIC_DISPATCH(Depthwise)(args); }

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
