// SPDX-License-Identifier: Apache-2.0
// What is left over goes through vectors of one lane, so that it is rounded like the rest.
// Read first: activation_f32.h.
#include "deploy/ops/activation/activation_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/activation/activation_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

struct Sigmoid {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    const V one = hn::Set(d, 1.0f);
    const V e = hn::Exp(d, hn::Neg(hn::Abs(x)));
    return hn::Div(hn::IfThenElse(hn::Ge(x, hn::Zero(d)), one, e), hn::Add(one, e));
  }
};

struct HardSwish {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    const V sum = hn::Add(x, hn::Set(d, 3.0f));
    const V clamped = hn::Min(hn::Max(sum, hn::Zero(d)), hn::Set(d, 6.0f));
    return hn::Mul(x, hn::Mul(clamped, hn::Set(d, 1.0f / 6)));
  }
};

template <class F>
void Apply(const F& f, const float* x, int64_t n, float* y) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  for (; i < n; ++i) hn::StoreU(f(d1, hn::LoadU(d1, x + i)), d1, y + i);
}

void Activate(packed::LayerKind kind, const float* x, int64_t n, float* y) {
  switch (kind) {
    case packed::LayerKind::kSigmoid:
      return Apply(Sigmoid(), x, n, y);
    case packed::LayerKind::kHardSwish:
      return Apply(HardSwish(), x, n, y);
    default:
      return;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Activate);

void ActivationF32(packed::LayerKind kind, const float* x, int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(Activate)(kind, x, n, y);
}

int32_t ActivationOperations(packed::LayerKind kind) noexcept {
  switch (kind) {
    case packed::LayerKind::kSigmoid:
      return 28;
    case packed::LayerKind::kHardSwish:
      return 7;
    default:
      return 1;
  }
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
