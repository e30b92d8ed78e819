// SPDX-License-Identifier: Apache-2.0
// One pass without a branch finds the largest size: almost always nothing is beyond. It is compiled for AVX2 too, since a
// whole small network takes some microseconds only (1024 features: 34 ns, 64 without). Read first: finite.h.
#include "deploy/base/finite.h"

#include <algorithm>
#include <bit>

namespace bisparse {
namespace {

int32_t SizeBits(float x) { return std::bit_cast<int32_t>(x) & INT32_MAX; }

[[gnu::always_inline]] inline int32_t LargestSizeBits(std::span<const float> x) {
  constexpr size_t kLanes = 32;
  int32_t largest_l[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (size_t l = 0; l < kLanes; ++l) largest_l[l] = std::max(largest_l[l], SizeBits(x[i + l]));
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t l = 0; l < half; ++l) largest_l[l] = std::max(largest_l[l], largest_l[l + half]);
  }
  int32_t largest = largest_l[0];
  for (; i < x.size(); ++i) largest = std::max(largest, SizeBits(x[i]));
  return largest;
}

int32_t LargestSizeBitsBaseline(std::span<const float> x) { return LargestSizeBits(x); }

#if defined(__x86_64__)
[[gnu::target("avx2")]] int32_t LargestSizeBitsAvx2(std::span<const float> x) {
  return LargestSizeBits(x);
}
const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif

int32_t LargestSize(std::span<const float> x) {
#if defined(__x86_64__)
  if (has_avx2) return LargestSizeBitsAvx2(x);
#endif
  return LargestSizeBitsBaseline(x);
}

}  // namespace

int64_t FirstBeyond(std::span<const float> x, float limit) noexcept {
  const int32_t most = SizeBits(limit);
  if (LargestSize(x) <= most) return -1;
  int64_t i = 0;
  while (SizeBits(x[static_cast<size_t>(i)]) <= most) ++i;
  return i;
}

}  // namespace bisparse
