// SPDX-License-Identifier: Apache-2.0
// Read first: pool_u8.h.
#include "deploy/ops/pool/pool_u8.h"

#include <algorithm>

#include "deploy/base/float_mode.h"
#include "deploy/packed/layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/pool/pool_u8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

/// The rounded means of four registers of channels from c on: floats hold these quotients well enough to round half up
/// exactly while count <= 2^14.
template <class At>
HWY_INLINE void FourMeans(int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t c, const At& at,
                          uint8_t* y) {
  const hn::CappedTag<int32_t, 16> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const hn::Rebind<float, decltype(d)> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t iy = y0; iy < y1; ++iy) {
    for (int64_t ix = x0; ix < x1; ++ix) {
      const uint8_t* from = at(iy, ix) + c;
      HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
        sum[i] = hn::Add(sum[i], hn::PromoteTo(d, hn::LoadU(d8, from + i * lanes)));
      }
    }
  }
  const auto count = static_cast<int32_t>((y1 - y0) * (x1 - x0));
  const auto divisor = hn::Set(df, static_cast<float>(2 * count));
  HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
    const auto doubled = hn::Add(hn::Add(sum[i], sum[i]), hn::Set(d, count));
    const auto mean = hn::ConvertTo(d, hn::Div(hn::ConvertTo(df, doubled), divisor));
    hn::StoreU(hn::DemoteTo(d8, mean), d8, y + c + i * lanes);
  }
}

/// `shape` is copied: stores of bytes may alias any field, and out_w() divides.
template <bool kMax>
void Pool(const PoolShape& shape, const uint8_t* x, uint8_t* y) {
  const PoolShape s = shape;
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  const hn::CappedTag<uint8_t, 64> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), channels = s.channels;
  for (int64_t oy = 0; oy < out_h; ++oy) {
    for (int64_t ox = 0; ox < out_w; ++ox, y += channels) {
      const int64_t top = oy * s.stride_h - s.pad_h, side = ox * s.stride_w - s.pad_w;
      const int64_t y0 = std::max<int64_t>(top, 0), x0 = std::max<int64_t>(side, 0);
      const int64_t y1 = std::min<int64_t>(top + s.kernel_h, s.in_h);
      const int64_t x1 = std::min<int64_t>(side + s.kernel_w, s.in_w);
      const auto at = [&](int64_t iy, int64_t ix) { return x + (iy * s.in_w + ix) * channels; };
      int64_t c = 0;
      if constexpr (kMax) {
        if (y1 - y0 == 2 && x1 - x0 == 2) {
          const uint8_t *const above = at(y0, x0), *const below = at(y0 + 1, x0);
          for (; c + lanes <= channels; c += lanes) {
            const auto left = hn::Max(hn::LoadU(d, above + c), hn::LoadU(d, below + c));
            const auto right =
                hn::Max(hn::LoadU(d, above + channels + c), hn::LoadU(d, below + channels + c));
            hn::StoreU(hn::Max(left, right), d, y + c);
          }
        }
        for (; c + lanes <= channels; c += lanes) {
          auto largest = hn::Zero(d);
          for (int64_t iy = y0; iy < y1; ++iy) {
            for (int64_t ix = x0; ix < x1; ++ix) {
              largest = hn::Max(largest, hn::LoadU(d, at(iy, ix) + c));
            }
          }
          hn::StoreU(largest, d, y + c);
        }
      } else if ((y1 - y0) * (x1 - x0) <= 1 << 14) {
        const int64_t four = 4 * static_cast<int64_t>(hn::Lanes(hn::CappedTag<int32_t, 16>()));
        for (; c + four <= channels; c += four) FourMeans(y0, y1, x0, x1, c, at, y);
      }
      for (; c < channels; ++c) {
        uint32_t largest = 0, sum = 0;  // 255 times kMaxKernel squared fits
        static_assert(uint64_t{255} * packed::kMaxKernel * packed::kMaxKernel <= UINT32_MAX);
        for (int64_t iy = y0; iy < y1; ++iy) {
          for (int64_t ix = x0; ix < x1; ++ix) {
            largest = std::max<uint32_t>(largest, at(iy, ix)[c]);
            sum += at(iy, ix)[c];
          }
        }
        const auto count = static_cast<uint32_t>((y1 - y0) * (x1 - x0));
        if constexpr (kMax) {
          y[c] = static_cast<uint8_t>(largest);
        } else if (count < 1u << 22) {  // a short division
          y[c] = static_cast<uint8_t>((2 * sum + count) / (2 * count));
        } else {
          y[c] = static_cast<uint8_t>((2 * uint64_t{sum} + count) / (2 * uint64_t{count}));
        }
      }
    }
  }
}

void MaxPool(const PoolShape& s, const uint8_t* x, uint8_t* y) { Pool<true>(s, x, y); }
void AvgPool(const PoolShape& s, const uint8_t* x, uint8_t* y) { Pool<false>(s, x, y); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(MaxPool);
HWY_EXPORT(AvgPool);

void MaxPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxPool)(shape, x, y);
}

void AvgPoolU8(const PoolShape& shape, const uint8_t* x, uint8_t* y) noexcept {
  const StandardFloatMode standard;
  HWY_DYNAMIC_DISPATCH(AvgPool)(shape, x, y);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
