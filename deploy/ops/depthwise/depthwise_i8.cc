// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on u8 maps on every SIMD target. Read first: depthwise_i8.h.
// Tested in: depthwise_i8_test.cc.
#include "deploy/ops/depthwise/depthwise_i8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/depthwise/depthwise_i8.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Channels [c, c + kVectors·Lanes(d)) of the output position whose window begins at (y, x).
template <int kVectors, class D>
HWY_ATTR HWY_INLINE void Vectors(D d, const DepthwiseI8Args& a, int64_t y, int64_t x, int64_t c,
                                 int32_t* acc_c) {
  const hn::Rebind<int16_t, D> d16;
  const hn::Rebind<uint8_t, D> du8;
  const hn::Rebind<int8_t, D> di8;
  const PoolShape& s = a.shape;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto zero = hn::Set(d16, int16_t{a.zero});
  hn::Vec<D> sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::LoadU(d, a.bias_c + c + v * lanes);
  const int8_t* weight = a.weight_pc + c;
  for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
    const int64_t in_y = y + ky * s.dilation_h;
    for (int64_t kx = 0; kx < s.kernel_w; ++kx, weight += a.weight_stride) {
      const int64_t in_x = x + kx * s.dilation_w;
      const bool inside = in_y >= 0 && in_y < s.in_h && in_x >= 0 && in_x < s.in_w;
      if (!inside && a.zero == 0) continue;
      const uint8_t* in = a.x_yxc + (in_y * s.in_w + in_x) * s.channels + c;
      for (int v = 0; v < kVectors; ++v) {
        const auto value = inside ? hn::PromoteTo(d16, hn::LoadU(du8, in + v * lanes)) : zero;
        const auto w = hn::PromoteTo(d16, hn::LoadU(di8, weight + v * lanes));
        sum[v] = hn::Add(sum[v], hn::PromoteTo(d, hn::Mul(value, w)));
      }
    }
  }
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, acc_c + c + v * lanes);
}

HWY_ATTR void Depthwise(const DepthwiseI8Args& a) {
  const hn::CappedTag<int32_t, 16> d;
  const hn::CappedTag<int32_t, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const PoolShape& s = a.shape;
  const int64_t out_w = s.out_w(), channels = s.channels;
  const int64_t y = a.row * s.stride_h - s.pad_h;
  for (int64_t xo = 0; xo < out_w; ++xo) {
    const int64_t x = xo * s.stride_w - s.pad_w;
    int32_t* acc_c = a.acc + xo * channels;
    int64_t c = 0;
    for (; c + 4 * lanes <= channels; c += 4 * lanes) Vectors<4>(d, a, y, x, c, acc_c);
    for (; c + lanes <= channels; c += lanes) Vectors<1>(d, a, y, x, c, acc_c);
    for (; c < channels; ++c) Vectors<1>(d1, a, y, x, c, acc_c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Depthwise);

void DepthwiseI8(const DepthwiseI8Args& args) noexcept { HWY_DYNAMIC_DISPATCH(Depthwise)(args); }

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
