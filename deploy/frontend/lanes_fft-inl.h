// SPDX-License-Identifier: Apache-2.0
// Power spectra of several frames at once: lane l of every vector belongs to frame l. No lane sees another one, so a
// frame gets the same bits in any lane and at any width. Only additions, subtractions and multiplications in a written
// order; a file that includes this is compiled with -ffp-contract=off, so every instruction set gives the same bits.
// Complex point h of the lanes lies at z + 2·L·h: L real parts, then L imaginary ones.
// Included once for each target, after highway.h. Read first: fft_plan.h. Tested in: log_mel_frames_test.cc.
#if defined(BISPARSE_LANES_FFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_LANES_FFT_INL_H_
#undef BISPARSE_LANES_FFT_INL_H_
#else
#define BISPARSE_LANES_FFT_INL_H_
#endif

#include <cstdint>

#include "deploy/frontend/fft_plan.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
struct Complex {
  V re, im;
};

template <class V>
HWY_INLINE Complex<V> Add(Complex<V> a, Complex<V> b) {
  return {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
}
template <class V>
HWY_INLINE Complex<V> Sub(Complex<V> a, Complex<V> b) {
  return {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
}
/// a − i·b
template <class V>
HWY_INLINE Complex<V> SubTurned(Complex<V> a, Complex<V> b) {
  return {hn::Add(a.re, b.im), hn::Sub(a.im, b.re)};
}
/// a + i·b
template <class V>
HWY_INLINE Complex<V> AddTurned(Complex<V> a, Complex<V> b) {
  return {hn::Sub(a.re, b.im), hn::Add(a.im, b.re)};
}

/// The transform of the lanes of D.
template <class D>
class LanesFft {
 public:
  using V = hn::Vec<D>;
  static constexpr int64_t kPointFloats = 2 * static_cast<int64_t>(hn::MaxLanes(D()));

  /// scratch: room for plan.largest_odd_radix points.
  LanesFft(const FftPlan& plan, float* scratch) : plan_(plan), scratch_(scratch) {}

  /// Z of the points that lie at their places in z.
  void Transform(float* HWY_RESTRICT z) const {
    if (!plan_.stages.empty()) Transform(z, 0);
  }

  /// power[k] = |2·X[k]|² of Z, one vector each, k in [0, H]. With n = H − k, S = Z[k] + conj(Z[n]) and
  /// D = (Z[k] − conj(Z[n])) · exp(−2πi·k/N): 2·X[k] = S − i·D and 2·X[n] = conj(S + i·D).
  HWY_INLINE void Power(const float* HWY_RESTRICT z, float* HWY_RESTRICT power) const {
    const int64_t points = plan_.points;
    const auto put = [this, power](int64_t k, V re, V im) HWY_ATTR {
      hn::Store(hn::Add(hn::Mul(re, re), hn::Mul(im, im)), d_, power + k * (kPointFloats / 2));
    };
    const Complex<V> first = Load(z);
    const V zero = hn::Zero(d_), two = hn::Set(d_, 2.0f);
    put(0, hn::Mul(two, hn::Add(first.re, first.im)), zero);
    put(points, hn::Mul(two, hn::Sub(first.re, first.im)), zero);
    int64_t k = 1;
    for (; 2 * k < points; ++k) {
      const Complex<V> a = Load(z + k * kPointFloats), b = Load(z + (points - k) * kPointFloats);
      const Complex<V> s = {hn::Add(a.re, b.re), hn::Sub(a.im, b.im)};
      const Complex<V> d = Times({hn::Sub(a.re, b.re), hn::Add(a.im, b.im)}, &plan_.untwist[2 * k]);
      put(k, hn::Add(s.re, d.im), hn::Sub(s.im, d.re));
      put(points - k, hn::Sub(s.re, d.im), hn::Add(s.im, d.re));
    }
    if (2 * k == points) {
      const Complex<V> middle = Load(z + k * kPointFloats);
      put(k, hn::Mul(two, middle.re), hn::Mul(two, middle.im));
    }
  }

 private:
  /// What fits the first-level cache is transformed stage by stage; what does not, part by part.
  static constexpr int64_t kCachePoints = 24 * 1024 / (kPointFloats * 4);

  HWY_INLINE Complex<V> Load(const float* from) const {
    return {hn::Load(d_, from), hn::Load(d_, from + kPointFloats / 2)};
  }
  HWY_INLINE void Store(Complex<V> value, float* to) const {
    hn::Store(value.re, d_, to);
    hn::Store(value.im, d_, to + kPointFloats / 2);
  }
  HWY_INLINE Complex<V> Times(Complex<V> a, const float* w) const {
    const V re = hn::Set(d_, w[0]), im = hn::Set(d_, w[1]);
    return {hn::Sub(hn::Mul(a.re, re), hn::Mul(a.im, im)),
            hn::Add(hn::Mul(a.re, im), hn::Mul(a.im, re))};
  }

  void Transform(float* HWY_RESTRICT z, size_t first) const {
    const FftStage& stage = plan_.stages[first];
    const int64_t points = int64_t{stage.radix} * stage.points;
    if (points > kCachePoints && first + 1 < plan_.stages.size()) {
      for (int64_t q = 0; q < stage.radix; ++q) {
        Transform(z + q * stage.points * kPointFloats, first + 1);
      }
      return Join(stage, z, 1);
    }
    for (size_t i = plan_.stages.size(); i-- > first;) {
      const FftStage& inner = plan_.stages[i];
      Join(inner, z, points / (int64_t{inner.radix} * inner.points));
    }
  }

  /// `blocks` times: makes one transform of `radix` neighbouring ones.
  void Join(const FftStage& stage, float* HWY_RESTRICT z, int64_t blocks) const {
    const int64_t block_floats = stage.radix * stage.points * kPointFloats;
    for (int64_t block = 0; block < blocks; ++block, z += block_floats) {
      if (stage.radix == 4) {
        Join4(stage, z);
      } else if (stage.radix == 2) {
        Join2(stage, z);
      } else {
        JoinOdd(stage, z);
      }
    }
  }

  HWY_INLINE void Join2(const FftStage& stage, float* HWY_RESTRICT z) const {
    const int64_t step = stage.points * kPointFloats;
    const auto join = [this, step](float* at, Complex<V> b) HWY_ATTR {
      const Complex<V> a = Load(at);
      Store(Add(a, b), at);
      Store(Sub(a, b), at + step);
    };
    join(z, Load(z + step));  // its twiddle is 1
    const float* w = stage.twiddles.data() + 2;
    for (float *at = z + kPointFloats, *end = z + step; at != end; at += kPointFloats, w += 2) {
      join(at, Times(Load(at + step), w));
    }
  }

  HWY_INLINE void Join4(const FftStage& stage, float* HWY_RESTRICT z) const {
    const int64_t step = stage.points * kPointFloats;
    const auto join = [this, step](float* at, Complex<V> b, Complex<V> c, Complex<V> e) HWY_ATTR {
      const Complex<V> a = Load(at);
      const Complex<V> even = Add(a, c), even_minus = Sub(a, c);
      const Complex<V> odd = Add(b, e), odd_minus = Sub(b, e);
      Store(Add(even, odd), at);
      Store(SubTurned(even_minus, odd_minus), at + step);
      Store(Sub(even, odd), at + 2 * step);
      Store(AddTurned(even_minus, odd_minus), at + 3 * step);
    };
    join(z, Load(z + step), Load(z + 2 * step), Load(z + 3 * step));  // its twiddles are 1
    const float* w = stage.twiddles.data() + 6;
    for (float *at = z + kPointFloats, *end = z + step; at != end; at += kPointFloats, w += 6) {
      join(at, Times(Load(at + step), w), Times(Load(at + 2 * step), w + 2),
           Times(Load(at + 3 * step), w + 4));
    }
  }

  /// Radix p: with a = z[0], s_q = z[q] + z[p − q], t_q = z[q] − z[p − q], q in [1, p/2], each z after its twiddle:
  /// result j and p − j are a + Σ_q s_q·cos(2π·qj/p) ∓ i·Σ_q t_q·sin(2π·qj/p).
  HWY_INLINE void JoinOdd(const FftStage& stage, float* HWY_RESTRICT z) const {
    const int64_t radix = stage.radix, half = radix / 2, step = stage.points * kPointFloats;
    const float* w = stage.twiddles.data();
    for (float* end = z + step; z != end; z += kPointFloats, w += 2 * (radix - 1)) {
      const Complex<V> a = Load(z);
      Complex<V> sum = a;
      for (int64_t q = 1; q <= half; ++q) {
        const Complex<V> low = Times(Load(z + q * step), w + 2 * (q - 1));
        const Complex<V> high = Times(Load(z + (radix - q) * step), w + 2 * (radix - q - 1));
        const Complex<V> both = Add(low, high);
        Store(both, scratch_ + (2 * q - 2) * kPointFloats);
        Store(Sub(low, high), scratch_ + (2 * q - 1) * kPointFloats);
        sum = Add(sum, both);
      }
      Store(sum, z);
      for (int64_t j = 1; j <= half; ++j) {
        Complex<V> straight = a, turned = {hn::Zero(d_), hn::Zero(d_)};
        for (int64_t q = 1, turn = j; q <= half; ++q) {
          const V cosine = hn::Set(d_, stage.roots[static_cast<size_t>(2 * turn)]);
          const V sine = hn::Set(d_, stage.roots[static_cast<size_t>(2 * turn + 1)]);
          const Complex<V> s = Load(scratch_ + (2 * q - 2) * kPointFloats);
          const Complex<V> t = Load(scratch_ + (2 * q - 1) * kPointFloats);
          straight = Add(straight, {hn::Mul(s.re, cosine), hn::Mul(s.im, cosine)});
          turned = Add(turned, {hn::Mul(t.re, sine), hn::Mul(t.im, sine)});
          turn += j;
          if (turn >= radix) turn -= radix;
        }
        Store(SubTurned(straight, turned), z + j * step);
        Store(AddTurned(straight, turned), z + (radix - j) * step);
      }
    }
  }

  D d_;
  const FftPlan& plan_;
  float* scratch_;
};

}  // namespace HWY_NAMESPACE
}  // namespace bisparse
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_LANES_FFT_INL_H_
