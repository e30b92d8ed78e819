// SPDX-License-Identifier: Apache-2.0
// Channels that no whole vector covers go one by one. Read first: norm_pool_f32.h. Tested in: norm_pool_f32_test.cc.
#include "deploy/ops/training/norm_pool_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/training/norm_pool_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

/// f(d, c) for vectors of channels, then for single ones.
template <class F>
HWY_INLINE void ForChannels(int64_t channels, F&& f) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) f(d, c);
  for (; c < channels; ++c) f(hn::CappedTag<float, 1>(), c);
}

void Statistics(const float* x_qc, int64_t positions, int64_t channels, float* mean_c,
                float* square_c) {
  ForChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
    const float* x = x_qc + c;
    // Four sums: an addition waits for the one before it.
    auto a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
    int64_t q = 0;
    for (; q + 4 <= positions; q += 4, x += 4 * channels) {
      a0 = hn::Add(a0, hn::LoadU(d, x));
      a1 = hn::Add(a1, hn::LoadU(d, x + channels));
      a2 = hn::Add(a2, hn::LoadU(d, x + 2 * channels));
      a3 = hn::Add(a3, hn::LoadU(d, x + 3 * channels));
    }
    for (; q < positions; ++q, x += channels) a0 = hn::Add(a0, hn::LoadU(d, x));
    const auto sum = hn::Add(hn::Add(a0, a1), hn::Add(a2, a3));
    const auto mean = hn::Mul(sum, hn::Set(d, 1.0f / static_cast<float>(positions)));
    hn::StoreU(mean, d, mean_c + c);
    a0 = a1 = a2 = a3 = hn::Zero(d);
    x = x_qc + c;
    const auto add = [&](auto& to, const float* at) HWY_ATTR {
      const auto distance = hn::Sub(hn::LoadU(d, at), mean);
      to = hn::MulAdd(distance, distance, to);
    };
    for (q = 0; q + 4 <= positions; q += 4, x += 4 * channels) {
      add(a0, x);
      add(a1, x + channels);
      add(a2, x + 2 * channels);
      add(a3, x + 3 * channels);
    }
    for (; q < positions; ++q, x += channels) add(a0, x);
    hn::StoreU(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)), d, square_c + c);
  });
}

void Sums(const float* dy_qc, const float* x_qc, int64_t positions, int64_t channels,
          const float* mean_c, float* sum_c, float* product_c) {
  ForChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
    const auto mean = hn::LoadU(d, mean_c + c);
    auto s0 = hn::Zero(d), s1 = s0, p0 = s0, p1 = s0;
    const float* dy = dy_qc + c;
    const float* x = x_qc + c;
    int64_t q = 0;
    for (; q + 2 <= positions; q += 2, dy += 2 * channels, x += 2 * channels) {
      const auto g0 = hn::LoadU(d, dy), g1 = hn::LoadU(d, dy + channels);
      s0 = hn::Add(s0, g0);
      s1 = hn::Add(s1, g1);
      p0 = hn::MulAdd(g0, hn::Sub(hn::LoadU(d, x), mean), p0);
      p1 = hn::MulAdd(g1, hn::Sub(hn::LoadU(d, x + channels), mean), p1);
    }
    if (q < positions) {
      const auto g = hn::LoadU(d, dy);
      s0 = hn::Add(s0, g);
      p0 = hn::MulAdd(g, hn::Sub(hn::LoadU(d, x), mean), p0);
    }
    hn::StoreU(hn::Add(s0, s1), d, sum_c + c);
    hn::StoreU(hn::Add(p0, p1), d, product_c + c);
  });
}

void Backward(const float* x_qc, const float* dy_qc, int64_t positions, int64_t channels,
              const float* scale_c, const float* slope_c, const float* offset_c, float* dx_qc) {
  for (int64_t q = 0; q < positions; ++q) {
    const float* const x = x_qc + q * channels;
    const float* const dy = dy_qc + q * channels;
    float* const dx = dx_qc + q * channels;
    ForChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
      const auto dense =
          hn::NegMulSub(hn::LoadU(d, slope_c + c), hn::LoadU(d, x + c), hn::LoadU(d, offset_c + c));
      hn::StoreU(hn::MulAdd(hn::LoadU(d, scale_c + c), hn::LoadU(d, dy + c), dense), d, dx + c);
    });
  }
}

/// Of output row or column o: which places of the window are inside.
struct Inside {
  Inside(int32_t o, int32_t stride, int32_t pad, int32_t kernel, int32_t size)
      : first(o * stride - pad), begin(std::max(0, -first)), end(std::min(kernel, size - first)) {}
  int32_t first, begin, end;
};

void PoolForward(const NormPoolShape& s, const float* x_qc, const float* scale_c,
                 const float* shift_c, float* y_oc, float* best_oc, uint8_t* tap_oc) {
  const int64_t channels = s.channels;
  int64_t at = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    const Inside rows(oy, s.stride_h, s.pad_h, s.kernel_h, s.in_h);
    for (int32_t ox = 0; ox < s.out_w; ++ox, at += channels) {
      const Inside columns(ox, s.stride_w, s.pad_w, s.kernel_w, s.in_w);
      ForChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
        using D = decltype(d);
        const hn::RebindToSigned<D> di;
        const hn::Rebind<uint8_t, D> du8;
        const auto scale = hn::LoadU(d, scale_c + c);
        // The sign of −0 does not turn a channel round.
        const auto turn = hn::IfThenElseZero(hn::Lt(scale, hn::Zero(d)), hn::Set(d, -0.0f));
        auto best = hn::Zero(d);
        auto tap = hn::Zero(di);
        bool first = true;
        for (int32_t ky = rows.begin; ky < rows.end; ++ky) {
          const float* x =
              x_qc +
              (int64_t{rows.first + ky} * s.in_w + columns.first + columns.begin) * channels + c;
          for (int32_t kx = columns.begin; kx < columns.end; ++kx, x += channels) {
            const auto value = hn::Xor(hn::LoadU(d, x), turn);
            const auto here = hn::Set(di, ky * s.kernel_w + kx);
            if (first) {
              best = value;
              tap = here;
              first = false;
            } else {
              const auto takes = hn::Or(hn::Gt(value, best), hn::IsNaN(value));
              best = hn::IfThenElse(takes, value, best);
              tap = hn::IfThenElse(hn::RebindMask(di, takes), here, tap);
            }
          }
        }
        best = hn::Xor(best, turn);
        hn::StoreU(hn::MulAdd(scale, best, hn::LoadU(d, shift_c + c)), d, y_oc + at + c);
        hn::StoreU(best, d, best_oc + at + c);
        hn::StoreU(hn::DemoteTo(du8, tap), du8, tap_oc + at + c);
      });
    }
  }
}

void PoolBackward(const NormPoolShape& s, const float* x_qc, const float* dy_oc,
                  const uint8_t* tap_oc, const float* scale_c, const float* slope_c,
                  const float* offset_c, float* dx_qc) {
  const int64_t channels = s.channels;
  for (int64_t q = 0; q < int64_t{s.in_h} * s.in_w; ++q) {
    const float* const x = x_qc + q * channels;
    float* const dx = dx_qc + q * channels;
    ForChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
      hn::StoreU(
          hn::NegMulSub(hn::LoadU(d, slope_c + c), hn::LoadU(d, x + c), hn::LoadU(d, offset_c + c)),
          d, dx + c);
    });
  }
  int64_t at = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox, at += channels) {
      float* const first = dx_qc + ((int64_t{oy} * s.stride_h - s.pad_h) * s.in_w +
                                    int64_t{ox} * s.stride_w - s.pad_w) *
                                       channels;
      const auto add = [&](int64_t c) {
        const int32_t tap = tap_oc[at + c];
        first[(int64_t{tap / s.kernel_w} * s.in_w + tap % s.kernel_w) * channels + c] +=
            scale_c[c] * dy_oc[at + c];
      };
      // After k-WTA most of dy is zero.
      const hn::CappedTag<float, 16> d;
      const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
      int64_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        uint8_t bytes[8] = {};
        hn::StoreMaskBits(d, hn::Not(hn::Eq(hn::LoadU(d, dy_oc + at + c), hn::Zero(d))), bytes);
        uint32_t bits = bytes[0] | (lanes > 8 ? uint32_t{bytes[1]} << 8 : 0u);
        for (; bits != 0; bits &= bits - 1) {
          add(c + static_cast<int64_t>(hwy::Num0BitsBelowLS1Bit_Nonzero32(bits)));
        }
      }
      for (; c < channels; ++c) add(c);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Statistics);
HWY_EXPORT(Sums);
HWY_EXPORT(Backward);
HWY_EXPORT(PoolForward);
HWY_EXPORT(PoolBackward);

void NormStatisticsF32(const float* x_qc, int64_t positions, int64_t channels, float* mean_c,
                       float* square_c) noexcept {
  HWY_DYNAMIC_DISPATCH(Statistics)(x_qc, positions, channels, mean_c, square_c);
}

void NormSumsF32(const float* dy_qc, const float* x_qc, int64_t positions, int64_t channels,
                 const float* mean_c, float* sum_c, float* product_c) noexcept {
  HWY_DYNAMIC_DISPATCH(Sums)(dy_qc, x_qc, positions, channels, mean_c, sum_c, product_c);
}

void NormBackwardF32(const float* x_qc, const float* dy_qc, int64_t positions, int64_t channels,
                     const float* scale_c, const float* slope_c, const float* offset_c,
                     float* dx_qc) noexcept {
  HWY_DYNAMIC_DISPATCH(Backward)
  (x_qc, dy_qc, positions, channels, scale_c, slope_c, offset_c, dx_qc);
}

void NormPoolForwardF32(const NormPoolShape& shape, const float* x_qc, const float* scale_c,
                        const float* shift_c, float* y_oc, float* best_oc,
                        uint8_t* tap_oc) noexcept {
  HWY_DYNAMIC_DISPATCH(PoolForward)(shape, x_qc, scale_c, shift_c, y_oc, best_oc, tap_oc);
}

void NormPoolBackwardF32(const NormPoolShape& shape, const float* x_qc, const float* dy_oc,
                         const uint8_t* tap_oc, const float* scale_c, const float* slope_c,
                         const float* offset_c, float* dx_qc) noexcept {
  HWY_DYNAMIC_DISPATCH(PoolBackward)
  (shape, x_qc, dy_oc, tap_oc, scale_c, slope_c, offset_c, dx_qc);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
