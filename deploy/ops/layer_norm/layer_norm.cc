// SPDX-License-Identifier: Apache-2.0
// What is left over goes through vectors of one lane, so that it is rounded like the rest. Read first: layer_norm.h.
#include "deploy/ops/layer_norm/layer_norm.h"

#include <cmath>

#include "deploy/ops/layer_norm/op.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/layer_norm/layer_norm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> Load(D d, const float* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
}

template <class D>
HWY_INLINE hn::Vec<D> Load(D d, const uint8_t* x) {
  const hn::Rebind<int32_t, D> di32;
  return hn::PromoteTo(d, hn::PromoteTo(di32, hn::LoadU(hn::Rebind<uint8_t, D>(), x)));
}

/// Calls f(d, c) for each vector of the channels, then f(d1, c) for each one left over.
template <class F>
HWY_INLINE void ForEachVector(int64_t channels, const F& f) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) f(d, c);
  for (; c < channels; ++c) f(d1, c);
}

/// Σ f(x[c])
template <class T, class F>
HWY_INLINE double Sum(const T* x, int64_t channels, const F& f) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) sum = hn::Add(sum, f(d, Load(d, x + c)));
  double total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; c < channels; ++c) total += hn::GetLane(f(d1, Load(d1, x + c)));
  return total;
}

struct Itself {
  template <class D, class V>
  HWY_INLINE V operator()(D, V x) const {
    return x;
  }
};

struct SquareAbout {
  double mean;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    const V distance = hn::Sub(x, hn::Set(d, mean));
    return hn::Mul(distance, distance);
  }
};

void Floats(const LayerNormArgs& a, const float* x, int64_t positions, float* y) {
  const auto count = static_cast<double>(a.channels);
  for (int64_t q = 0; q < positions; ++q, x += a.channels, y += a.channels) {
    const double mean = Sum(x, a.channels, Itself()) / count;
    const double variance = Sum(x, a.channels, SquareAbout{mean}) / count;
    const double factor = 1.0 / std::sqrt(variance + a.epsilon);
    ForEachVector(a.channels, [&](auto d, int64_t c) HWY_ATTR {
      const hn::Rebind<float, decltype(d)> df;
      const auto normal = hn::Mul(hn::Sub(Load(d, x + c), hn::Set(d, mean)), hn::Set(d, factor));
      const auto scaled = hn::MulAdd(normal, Load(d, a.gain_c + c), Load(d, a.bias_c + c));
      hn::StoreU(hn::DemoteTo(df, scaled), df, y + c);
    });
  }
}

void Bytes(const LayerNormArgs& args, const uint8_t* x, int64_t positions, uint8_t* y) {
  const LayerNormArgs a = args;  // stores of bytes may alias any field
  const auto count = static_cast<double>(a.channels);
  const double low = -a.zero, high = low + 255;
  for (int64_t q = 0; q < positions; ++q, x += a.channels, y += a.channels) {
    // Whole numbers below 2^53.
    const auto sum = static_cast<int64_t>(Sum(x, a.channels, Itself()));
    const auto squares = static_cast<int64_t>(Sum(x, a.channels, SquareAbout{0}));
    const double factor = packed::FactorOfSteps(a.channels, sum, squares, a.epsilon);
    const auto sum_in_double = static_cast<double>(sum);
    ForEachVector(a.channels, [&](auto d, int64_t c) HWY_ATTR {
      const hn::Rebind<float, decltype(d)> df;
      const hn::Rebind<int32_t, decltype(d)> di32;
      const hn::Rebind<uint8_t, decltype(d)> du8;
      const auto set = [d](double value) HWY_ATTR { return hn::Set(d, value); };
      const auto distance =  // exact
          hn::MulSub(Load(d, x + c), set(count), set(sum_in_double));
      const auto normal = hn::PromoteTo(d, hn::DemoteTo(df, hn::Mul(distance, set(factor))));
      const auto scaled = hn::MulAdd(normal, Load(d, a.gain_c + c), Load(d, a.bias_c + c));
      const auto steps = hn::Round(hn::Mul(scaled, set(a.steps_of_one)));
      const auto clamped = hn::Min(hn::Max(steps, set(low)), set(high));
      const auto bytes = hn::DemoteTo(di32, hn::Sub(clamped, set(low)));
      hn::StoreU(hn::DemoteTo(du8, bytes), du8, y + c);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Floats);
HWY_EXPORT(Bytes);

void LayerNormF32(const LayerNormArgs& args, const float* x_qc, int64_t positions,
                  float* y_qc) noexcept {
  HWY_DYNAMIC_DISPATCH(Floats)(args, x_qc, positions, y_qc);
}

void LayerNormU8(const LayerNormArgs& args, const uint8_t* x_qc, int64_t positions,
                 uint8_t* y_qc) noexcept {
  HWY_DYNAMIC_DISPATCH(Bytes)(args, x_qc, positions, y_qc);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
