// SPDX-License-Identifier: Apache-2.0
// Pooling on every SIMD target: channels are the vector. Read first: pool_f32.h.
// Tested in: pool_f32_test.cc.
#include "deploy/ops/pool/pool_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/pool/pool_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// A window cut to the map: taps [y0, y1) × [x0, x1), never empty.
struct Cut {
  int64_t y0, y1, x0, x1;
};

/// Channels [c, c + Lanes(d)) of one window.
template <bool kMax, class D>
HWY_ATTR HWY_INLINE void PoolVector(D d, const PoolShape& shape, const float* x_yxc, const Cut& cut,
                                    int64_t c, float* y_c) {
  auto sum = hn::Zero(d);
  for (int64_t y = cut.y0; y < cut.y1; ++y) {
    const float* x = x_yxc + (y * shape.in_w + cut.x0) * shape.channels + c;
    for (int64_t k = cut.x0; k < cut.x1; ++k, x += shape.channels) {
      const auto value = hn::LoadU(d, x);
      const bool first = y == cut.y0 && k == cut.x0;
      if constexpr (kMax) {
        sum = first ? value : hn::Max(sum, value);
      } else {
        sum = first ? value : hn::Add(sum, value);
      }
    }
  }
  if constexpr (!kMax) {
    const int64_t count = (cut.y1 - cut.y0) * (cut.x1 - cut.x0);
    sum = hn::Div(sum, hn::Set(d, static_cast<float>(count)));
  }
  hn::StoreU(sum, d, y_c + c);
}

template <bool kMax>
HWY_ATTR void Pool(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                   float* y_yxc) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t out_w = shape.out_w();
  for (int64_t yo = begin; yo < end; ++yo) {
    const int64_t y = yo * shape.stride_h - shape.pad_h;
    for (int64_t xo = 0; xo < out_w; ++xo) {
      const int64_t x = xo * shape.stride_w - shape.pad_w;
      const Cut cut{.y0 = std::max<int64_t>(y, 0),
                    .y1 = std::min<int64_t>(y + shape.kernel_h, shape.in_h),
                    .x0 = std::max<int64_t>(x, 0),
                    .x1 = std::min<int64_t>(x + shape.kernel_w, shape.in_w)};
      float* y_c = y_yxc + (yo * out_w + xo) * shape.channels;
      int64_t c = 0;
      for (; c + lanes <= shape.channels; c += lanes) {
        PoolVector<kMax>(d, shape, x_yxc, cut, c, y_c);
      }
      for (; c < shape.channels; ++c) PoolVector<kMax>(d1, shape, x_yxc, cut, c, y_c);
    }
  }
}

void MaxPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) {
  Pool<true>(shape, x_yxc, begin, end, y_yxc);
}

void AvgPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) {
  Pool<false>(shape, x_yxc, begin, end, y_yxc);
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(MaxPoolF32);
HWY_EXPORT(AvgPoolF32);

void MaxPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxPoolF32)(shape, x_yxc, begin, end, y_yxc);
}

void AvgPoolF32(const PoolShape& shape, const float* x_yxc, int64_t begin, int64_t end,
                float* y_yxc) noexcept {
  HWY_DYNAMIC_DISPATCH(AvgPoolF32)(shape, x_yxc, begin, end, y_yxc);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
