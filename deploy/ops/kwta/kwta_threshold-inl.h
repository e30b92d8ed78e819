// SPDX-License-Identifier: Apache-2.0
// The k-th largest of integer keys, and the list of the keys above it; used by kwta_f32.cc, which
// says what keys are. Tested in: kwta_f32_test.cc.
#if defined(BISPARSE_KWTA_THRESHOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_KWTA_THRESHOLD_INL_H_
#undef BISPARSE_KWTA_THRESHOLD_INL_H_
#else
#define BISPARSE_KWTA_THRESHOLD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstdint>

#include "deploy/ops/kwta/kwta.h"
#include "deploy/simd/compress_table.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::CappedTag<float, 16>;
using DI = hn::CappedTag<int32_t, 16>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

/// The lanes of v that mask names, in order, as the first ones.
HWY_INLINE VI CompressLanes(VI v, hn::Mask<DI> mask) {
#if HWY_TARGET == HWY_AVX2
  const auto bits = static_cast<size_t>(_mm256_movemask_ps(_mm256_castsi256_ps(mask.raw)));
  const __m256i order =
      _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(kCompressLanes[bits])));
  return VI{_mm256_permutevar8x32_epi32(v.raw, order)};
#else
  return hn::Compress(v, mask);
#endif
}

/// Number of keys[0 … n) >= bound. keys are padded with -1 to whole vectors.
HWY_INLINE int32_t CountAtLeast(const int32_t* keys, int32_t n, int32_t bound) {
  const DI d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const VI below = hn::Set(d, bound - 1);
  const auto count = [&](int32_t i) HWY_ATTR {  // in integer registers: no sum of lanes at the end
    return hn::CountTrue(d, hn::Gt(hn::LoadU(d, keys + i), below));
  };
  size_t found = 0;
  int32_t i = 0;
  for (; i + 3 * lanes < n; i += 4 * lanes) {
    found += count(i) + count(i + lanes) + count(i + 2 * lanes) + count(i + 3 * lanes);
  }
  for (; i < n; i += lanes) found += count(i);
  return static_cast<int32_t>(found);
}

HWY_INLINE void PadKeys(int32_t* keys, int32_t n) {
  const DI d;
  hn::StoreU(hn::Set(d, -1), d, keys + n);
}

/// Winners are the keys > above and the first `ties` keys == above.
struct Threshold {
  int32_t above, ties;
};

/// keys padded; candidates: room for n + 16 keys; 1 <= k <= n.
HWY_INLINE Threshold FindThreshold(const int32_t* keys, int32_t n, int32_t k, int32_t* candidates) {
  const DI d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  VI largest = hn::LoadU(d, keys);
  for (int32_t i = lanes; i < n; i += lanes) largest = hn::Max(largest, hn::LoadU(d, keys + i));
  // Invariant: low <= the k-th largest key < high; count_high keys are >= high.
  int32_t low = 0, high = hn::GetLane(hn::MaxOfLanes(d, largest)) + 1, count_high = 0;
  // Five bisections over values leave about n/32 candidates between the bounds; past them fewer
  // keys are counted.
  constexpr int kValueSteps = 5;
  const int32_t* counted = keys;
  int32_t counted_n = n, counted_base = 0;
  for (int step = 0; high - low > 1; ++step) {
    int32_t middle = low + (high - low) / 2;
    if (step < kValueSteps) {
      const float value = 0.5f * (std::bit_cast<float>(low) + std::bit_cast<float>(high));
      middle = std::clamp(std::bit_cast<int32_t>(value), low + 1, high - 1);
    } else if (step == kValueSteps && n > 4 * lanes) {
      const VI at_least = hn::Set(d, low - 1), below = hn::Set(d, high);
      int32_t found = 0;
      for (int32_t i = 0; i < n; i += lanes) {
        const VI key = hn::LoadU(d, keys + i);
        const auto inside = hn::And(hn::Gt(key, at_least), hn::Gt(below, key));
        hn::StoreU(CompressLanes(key, inside), d, candidates + found);
        found += static_cast<int32_t>(hn::CountTrue(d, inside));
      }
      PadKeys(candidates, found);
      counted = candidates;
      counted_n = found;
      counted_base = count_high;
    }
    const int32_t count = counted_base + CountAtLeast(counted, counted_n, middle);
    if (count == k) return {middle - 1, 0};
    if (count > k) {
      low = middle;
    } else {
      high = middle;
      count_high = count;
    }
  }
  return {low, k - count_high};
}

/// Writes the winners among keys[0 … n) (padded), which stand at map elements element[0 … n), or at
/// first, first + 1, … without a list; returns how many.
HWY_INLINE int32_t Emit(const int32_t* keys, int32_t n, const int32_t* element, int32_t first,
                        Threshold threshold, int32_t* index_k, float* value_k) {
  const DI d;
  const DF df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const VI above = hn::Set(d, threshold.above);
  VI index = hn::Iota(d, first);
  const VI step = hn::Set(d, lanes);
  int32_t ties = threshold.ties, out = 0;
  for (int32_t i = 0; i < n; i += lanes, index = hn::Add(index, step)) {
    const VI key = hn::LoadU(d, keys + i);
    if (element != nullptr) index = hn::LoadU(d, element + i);
    const auto greater = hn::Gt(key, above);
    auto wins = greater;
    if (ties > 0) {
      const auto equal = hn::Eq(key, above);
      const int32_t equal_count = static_cast<int32_t>(hn::CountTrue(d, equal));
      if (equal_count <= ties) {
        wins = hn::Or(greater, equal);
        ties -= equal_count;
      } else {  // the last ties: at most once for a call
        HWY_ALIGN int32_t lane_wins[16];
        hn::Store(hn::VecFromMask(d, greater), d, lane_wins);
        for (int32_t j = 0; ties > 0; ++j) {
          if (keys[i + j] == threshold.above) {
            lane_wins[j] = -1;
            --ties;
          }
        }
        wins = hn::MaskFromVec(hn::Load(d, lane_wins));
      }
    }
    hn::StoreU(CompressLanes(index, wins), d, index_k + out);
    hn::StoreU(hn::BitCast(df, CompressLanes(key, wins)), df, value_k + out);
    out += static_cast<int32_t>(hn::CountTrue(d, wins));
  }
  return out;
}

/// A bound that somewhat more than k of keys[0 … n) reach, judged by kSample of them; 0 where that
/// would spare little. Not certain: count what it leaves.
HWY_INLINE int32_t SampleBound(const int32_t* keys, int32_t n, int32_t k) {
  constexpr int32_t kSample = 256;
  const DI d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  // Three standard deviations above k's share.
  const int64_t wanted = int64_t{k} * kSample / n + 16;
  if (n < 4 * kSample || wanted > kSample / 3) return 0;
  HWY_ALIGN int32_t sample[kSample + 16];
  // An odd step of vectors visits all channels.
  const int32_t step = ((n / kSample - 1) | 1) * lanes;
  VI largest = hn::Zero(d);
  for (int32_t i = 0; i < kSample; i += lanes, keys += step) {
    const VI key = hn::LoadU(d, keys);
    largest = hn::Max(largest, key);
    hn::Store(key, d, sample + i);
  }
  float low = 0.0f, high = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(d, largest)));
  for (int i = 0; i < 5; ++i) {
    const float middle = 0.5f * (low + high);
    const bool enough = CountAtLeast(sample, kSample, std::bit_cast<int32_t>(middle)) >= wanted;
    (enough ? low : high) = middle;
  }
  return std::bit_cast<int32_t>(low);
}

/// Writes the keys >= bound among keys[0 … n) and their places; returns how many. Padded.
HWY_INLINE int32_t KeepAtLeast(const int32_t* keys, int32_t n, int32_t bound, int32_t* kept,
                               int32_t* place) {
  const DI d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const VI below = hn::Set(d, bound - 1), step = hn::Set(d, lanes);
  VI index = hn::Iota(d, 0);
  int32_t found = 0;
  for (int32_t i = 0; i < n; i += lanes, index = hn::Add(index, step)) {
    const VI key = hn::LoadU(d, keys + i);
    const auto inside = hn::Gt(key, below);
    hn::StoreU(CompressLanes(key, inside), d, kept + found);
    hn::StoreU(CompressLanes(index, inside), d, place + found);
    found += static_cast<int32_t>(hn::CountTrue(d, inside));
  }
  PadKeys(kept, found);
  return found;
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_KWTA_THRESHOLD_INL_H_
