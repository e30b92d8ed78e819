// SPDX-License-Identifier: Apache-2.0
// Read first: log_mel_frames.h.
#include "deploy/frontend/log_mel_frames.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/frontend/log_mel_frames.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

#include "deploy/frontend/lanes_fft-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse {
namespace HWY_NAMESPACE {
namespace {

/// log(x), x > 0: x = 2^e · (1 + r) with 1 + r in [√½, √2), log(1 + r) = r − r²/2 + r³·P(r). ln 2 is split into a part of
/// 9 bits, whose products with e are exact, and the rest. Source of P: Cephes, logf. Off by at most 4 · 2^-24 · |log(x)|.
template <class D, class V>
HWY_INLINE V Log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto set = [d](float value) HWY_ATTR { return hn::Set(d, value); };
  const auto subnormal = hn::Lt(x, set(std::numeric_limits<float>::min()));
  const V normal = hn::IfThenElse(subnormal, hn::Mul(x, set(0x1p23f)), x);
  const auto bits = hn::BitCast(di, normal);
  const auto exponent =
      hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // less that of √½
  const V r = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent))), set(1.0f));
  const V e = hn::Sub(hn::ConvertTo(d, exponent), hn::IfThenElseZero(subnormal, set(23.0f)));
  V p = set(7.0376836292e-2f);
  for (const float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f}) {
    p = hn::Add(hn::Mul(p, r), set(c));
  }
  const V r2 = hn::Mul(r, r);
  V y = hn::Mul(hn::Mul(p, r), r2);
  y = hn::Add(y, hn::Mul(e, set(-2.12194440e-4f)));
  y = hn::Sub(y, hn::Mul(r2, set(0.5f)));
  y = hn::Add(hn::Add(r, y), hn::Mul(e, set(0.693359375f)));
  return hn::IfThenElse(hn::Gt(x, set(std::numeric_limits<float>::max())), x, y);
}

#if HWY_TARGET != HWY_SCALAR
/// Samples j to j + 3 of each fourth frame, a block of 128 bits each.
template <class D>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const float* const* frame_l, int64_t j) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  if constexpr (kLanes == 4) {
    return hn::LoadU(d, frame_l[0] + j);
  } else {
    const hn::Half<D> dh;
    return hn::Combine(d, LoadBlocks(dh, frame_l + kLanes / 2, j), LoadBlocks(dh, frame_l, j));
  }
}
#endif

/// Rows of four window samples: row_w[s] of z gets window[s] · frame_l[l][j + s], s < count.
template <class D>
HWY_INLINE void StoreRows(D d, const float* const* frame_l, int64_t j, const float* window,
                          const int32_t* row_w, int64_t count, float* HWY_RESTRICT z) {
  constexpr int64_t kLanes = hn::MaxLanes(D());
#if HWY_TARGET == HWY_SCALAR
  for (int64_t s = 0; s < count; ++s) z[row_w[s] * kLanes] = window[s] * frame_l[0][j + s];
  (void)d;
#else
  const auto w = hn::LoadDup128(d, window);
  const auto v0 = hn::Mul(LoadBlocks(d, frame_l + 0, j), w);
  const auto v1 = hn::Mul(LoadBlocks(d, frame_l + 1, j), w);
  const auto v2 = hn::Mul(LoadBlocks(d, frame_l + 2, j), w);
  const auto v3 = hn::Mul(LoadBlocks(d, frame_l + 3, j), w);
  const auto low02 = hn::InterleaveLower(d, v0, v2), low13 = hn::InterleaveLower(d, v1, v3);
  const auto high02 = hn::InterleaveUpper(d, v0, v2), high13 = hn::InterleaveUpper(d, v1, v3);
  hn::Store(hn::InterleaveLower(d, low02, low13), d, z + row_w[0] * kLanes);
  if (count > 1) hn::Store(hn::InterleaveUpper(d, low02, low13), d, z + row_w[1] * kLanes);
  if (count > 2) hn::Store(hn::InterleaveLower(d, high02, high13), d, z + row_w[2] * kLanes);
  if (count > 3) hn::Store(hn::InterleaveUpper(d, high02, high13), d, z + row_w[3] * kLanes);
#endif
}

/// Puts the windowed samples of a frame for each lane where the transform takes them.
template <class D>
void LayFrames(D d, const LogMelTables& tables, const float* const* frame_l,
               float* HWY_RESTRICT z) {
  constexpr int64_t kLanes = hn::MaxLanes(D());
  for (const int32_t row : tables.zero_rows) hn::Store(hn::Zero(d), d, z + row * kLanes);
  const float* window = tables.window.data();
  const int32_t* row_w = tables.row_w.data();
  int64_t j = 0;
  for (; j + 4 <= tables.window_samples; j += 4) {
    StoreRows(d, frame_l, j, window + j, row_w + j, 4, z);
  }
  const int64_t rest = tables.window_samples - j;
  if (rest == 0) return;
  float end_ls[kLanes][4] = {};
  const float* end_l[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    std::copy_n(frame_l[l] + j, rest, end_ls[l]);
    end_l[l] = end_ls[l];
  }
  StoreRows(d, end_l, 0, window + j, row_w + j, rest, z);
}

/// One pass: a frame for each lane; results of the first `count` lanes.
template <class D>
void Pass(D d, const LogMelTables& tables, const float* const* frame_l, int64_t count, float* work,
          float* out, int64_t stride) {
  constexpr int64_t kLanes = hn::MaxLanes(D());
  float* z = work;
  float* power = z + tables.fft.samples * kLanes;
  LayFrames(d, tables, frame_l, z);
  const LanesFft<D> fft(tables.fft, power);  // which nobody needs before the transform is done
  fft.Transform(z);
  fft.Power(z, power);
  const auto floor = hn::Set(d, tables.log_floor);
  for (const MelBand& band : tables.bands) {
    const float* bin = power + band.begin * kLanes;
    auto sum = hn::Mul(hn::Set(d, band.weights[0]), hn::Load(d, bin));
    for (size_t f = 1; f < band.weights.size(); ++f) {
      bin += kLanes;
      sum = hn::Add(sum, hn::Mul(hn::Set(d, band.weights[f]), hn::Load(d, bin)));
    }
    const auto feature = Log(d, hn::Add(sum, floor));
    if (count == kLanes) {
      hn::StoreU(feature, d, out);
    } else {
      HWY_ALIGN float feature_l[kLanes];
      hn::Store(feature, d, feature_l);
      std::copy_n(feature_l, count, out);
    }
    out += stride;
  }
}

template <class D>
int64_t Frames(D d, const LogMelTables& tables, const float* const* frame_n, int64_t frames,
               float* work, float* out, int64_t stride) {
  constexpr int64_t kLanes = hn::MaxLanes(D());
  const int64_t count = std::min(frames, kLanes);
  const float* frame_l[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) frame_l[l] = frame_n[std::min(l, count - 1)];
  Pass(d, tables, frame_l, count, work, out, stride);
  return count;
}

void LogMelFrames(const LogMelTables& tables, const float* const* frame_n, int64_t frames,
                  float* work, float* out, int64_t stride) {
  const hn::CappedTag<float, 16> wide;
  const hn::CappedTag<float, 8> half;
  const hn::CappedTag<float, 4> quarter;
  for (int64_t n = 0; n < frames;) {
    const auto pass = [&](auto d) HWY_ATTR {
      return Frames(d, tables, frame_n + n, frames - n, work, out + n, stride);
    };
    n += frames - n <= 4 ? pass(quarter) : frames - n <= 8 ? pass(half) : pass(wide);
  }
}

void LogMany(const float* x, int64_t n, float* y) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Log(d, hn::LoadU(d, x + i)), d, y + i);
  for (; i < n; ++i) hn::StoreU(Log(d1, hn::LoadU(d1, x + i)), d1, y + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse {

HWY_EXPORT(LogMelFrames);
HWY_EXPORT(LogMany);

LogMelTables::LogMelTables(int32_t fft_samples, std::span<const float> the_window,
                           std::vector<MelBand> the_bands, float the_log_floor)
    : fft(fft_samples),
      window(the_window.begin(), the_window.end()),
      window_samples(std::ssize(the_window)),
      bands(std::move(the_bands)),
      log_floor(the_log_floor) {
  const int64_t left = (fft_samples - window_samples) / 2;
  for (int64_t j = 0; j < fft_samples; ++j) {
    const int32_t row = 2 * fft.place_h[static_cast<size_t>(j / 2)] + static_cast<int32_t>(j % 2);
    const bool inside = left <= j && j < left + window_samples;
    (inside ? row_w : zero_rows).push_back(row);
  }
  window.resize((window.size() + 3) / 4 * 4);
  for (MelBand& band : bands) {
    for (float& weight : band.weights) weight *= 0.25f;
  }
}

int64_t LogMelFramesWork(const LogMelTables& tables) {
  constexpr int64_t kMostLanes = 16;
  const int64_t power = tables.fft.points + 1, scratch = 2 * int64_t{tables.fft.largest_odd_radix};
  return kMostLanes * (tables.fft.samples + std::max(power, scratch));
}

void LogMelFramesF32(const LogMelTables& tables, const float* const* frame_n, int64_t frames,
                     float* work, float* out, int64_t stride) noexcept {
  HWY_DYNAMIC_DISPATCH(LogMelFrames)(tables, frame_n, frames, work, out, stride);
}

void LogF32(const float* x, int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(LogMany)(x, n, y);
}

}  // namespace bisparse
#endif  // HWY_ONCE
