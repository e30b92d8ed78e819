// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels on every SIMD target; what is left over goes through vectors of one lane, so
// that it is rounded like the rest. Read first: elementwise_f32.h.
// Tested in: elementwise_f32_test.cc.
#include "deploy/ops/shared/elementwise_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/shared/elementwise_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void ReluF32(const float* x, int64_t n, float* y) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Max(hn::LoadU(d, x + i), hn::Zero(d)), d, y + i);
  }
  for (; i < n; ++i) hn::StoreU(hn::Max(hn::LoadU(d1, x + i), hn::Zero(d1)), d1, y + i);
}

template <class D>
HWY_ATTR HWY_INLINE void AffineVector(D d, const float* x, const float* scale, const float* shift,
                                      float* y) {
  hn::StoreU(hn::MulAdd(hn::LoadU(d, scale), hn::LoadU(d, x), hn::LoadU(d, shift)), d, y);
}

void AffineF32(const float* x_qc, int64_t positions, int64_t channels, const float* scale_c,
               const float* shift_c, float* y_qc) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t q = 0; q < positions; ++q, x_qc += channels, y_qc += channels) {
    int64_t c = 0;
    for (; c + lanes <= channels; c += lanes) {
      AffineVector(d, x_qc + c, scale_c + c, shift_c + c, y_qc + c);
    }
    for (; c < channels; ++c) AffineVector(d1, x_qc + c, scale_c + c, shift_c + c, y_qc + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ReluF32);
HWY_EXPORT(AffineF32);

void ReluF32(const float* x, int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(ReluF32)(x, n, y);
}

void AffineF32(const float* x_qc, int64_t positions, int64_t channels, const float* scale_c,
               const float* shift_c, float* y_qc) noexcept {
  HWY_DYNAMIC_DISPATCH(AffineF32)(x_qc, positions, channels, scale_c, shift_c, y_qc);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
