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

struct Gelu {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    const hn::RebindToUnsigned<D> du;
    const auto set = [d](float value) HWY_ATTR { return hn::Set(d, value); };
    const V one = set(1.0f);
    const V a = hn::Min(hn::Abs(x), set(16.0f));  // exp(−128) is 0
    const V t = hn::Div(one, hn::MulAdd(a, set(0.3f), one));
    V q = set(-0.0209560242f);
    q = hn::MulAdd(q, t, set(0.114257453f));
    q = hn::MulAdd(q, t, set(-0.232524407f));
    q = hn::MulAdd(q, t, set(0.197550584f));
    q = hn::MulAdd(q, t, set(-0.0842134813f));
    q = hn::MulAdd(q, t, set(0.0987113822f));
    q = hn::MulAdd(q, t, set(0.0775179011f));
    q = hn::MulAdd(q, t, set(0.110418411f));
    q = hn::MulAdd(q, t, set(0.119550431f));
    q = hn::MulAdd(q, t, set(0.119687748f));
    q = hn::Mul(q, t);
    const V b = hn::BitCast(d, hn::And(hn::BitCast(du, a), hn::Set(du, 0xfffff000u)));
    const V rest = hn::Mul(hn::Mul(hn::Sub(b, a), hn::Add(b, a)), set(0.5f));
    const V exp_rest =
        hn::MulAdd(rest, hn::MulAdd(rest, hn::MulAdd(rest, set(1.0f / 6), set(0.5f)), one), one);
    const V exp_b = hn::Exp(d, hn::Mul(hn::Mul(b, b), set(-0.5f)));
    const V h = hn::Mul(hn::Mul(exp_b, exp_rest), q);
    return hn::Mul(x, hn::IfThenElse(hn::Ge(x, hn::Zero(d)), hn::Sub(one, h), h));
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
    case packed::LayerKind::kGelu:
      return Apply(Gelu(), x, n, y);
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
    case packed::LayerKind::kGelu:
      return 52;
    default:
      return 1;
  }
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
