// SPDX-License-Identifier: Apache-2.0
// Read first: linear_winners_i8.h.
#include "deploy/ops/linear/linear_winners_i8.h"

#include <algorithm>
#include <array>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/linear/linear_winners_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

/// acc + w·x for s8 weights and one u8 value (below 2^15, so the dot product of 16-bit pairs is exact: the upper half
/// of x is zero).
template <class V>
HWY_INLINE V MultiplyAdd(V acc, V w, V x) {
#if HWY_TARGET == HWY_AVX3_DL
  if constexpr (sizeof(V) == 64) return V{_mm512_dpwssd_epi32(acc.raw, w.raw, x.raw)};
#endif
  return hn::Add(acc, hn::Mul(w, x));
}

/// One row of kVectors registers for all outputs (the last layer): sums stay in registers, in kChains copies so that no
/// winner waits for the one before.
template <int kVectors, class D>
HWY_INLINE void LinearInRegisters(D d, const LinearWinnersI8Args& a) {
  const hn::Rebind<int8_t, D> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kChains = kVectors == 1 ? 4 : kVectors == 2 ? 2 : 1;
  hn::Vec<D> acc[kVectors * kChains];
  HWY_UNROLL(4) for (int v = 0; v < kVectors * kChains; ++v) {
    acc[v] = v < kVectors ? hn::LoadU(d, a.acc + v * lanes) : hn::Zero(d);
  }
  const auto add = [&](int64_t i, int chain) HWY_ATTR {
    const int64_t p = a.index_k ? a.index_k[i] : i;
    const auto x = hn::Set(d, int32_t{a.value_k[i]});
    const int8_t* weight = a.weight_pnl + p * (kVectors * lanes);
    HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
      auto& sum = acc[chain * kVectors + v];
      sum = MultiplyAdd(sum, hn::PromoteTo(d, hn::LoadU(d8, weight + v * lanes)), x);
    }
  };
  int64_t i = 0;
  for (; i + kChains <= a.count; i += kChains) {
    HWY_UNROLL(4) for (int chain = 0; chain < kChains; ++chain) add(i + chain, chain);
  }
  for (; i < a.count; ++i) add(i, 0);
  HWY_UNROLL(4) for (int v = 0; v < kVectors; ++v) {
    HWY_UNROLL(4) for (int chain = 1; chain < kChains; ++chain) {
      acc[v] = hn::Add(acc[v], acc[chain * kVectors + v]);
    }
    hn::StoreU(acc[v], d, a.acc + v * lanes);
  }
}

/// kSets sets of kVectors registers from set n on: their sums are apart, so all are loaded before any is stored.
template <int kSets, int kVectors, class D>
HWY_INLINE void AddToOwners(D d, hn::Vec<D> x, const int8_t* weight, const uint16_t* owner,
                            int32_t* acc) {
  const hn::Rebind<int8_t, D> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int32_t* to[kSets * kVectors];
  hn::Vec<D> sum[kSets * kVectors];
  HWY_UNROLL(4) for (int i = 0; i < kSets * kVectors; ++i) {
    to[i] = acc + (owner[i / kVectors] * kVectors + i % kVectors) * lanes;
    sum[i] =
        MultiplyAdd(hn::LoadU(d, to[i]), hn::PromoteTo(d, hn::LoadU(d8, weight + i * lanes)), x);
  }
  HWY_UNROLL(4) for (int i = 0; i < kSets * kVectors; ++i) hn::StoreU(sum[i], d, to[i]);
}

#if HWY_TARGET == HWY_AVX3_DL
/// Four sets of 16: byte 4l + n of their line is made set n's, so that the value in byte n of a word takes that set alone.
HWY_INLINE void AddToFourOwners(__m512i turn, const int8_t* line, __m512i x, const uint16_t* owner,
                                int32_t* acc) {
  const __m512i weight = _mm512_permutexvar_epi8(turn, _mm512_loadu_si512(line));
  uint64_t owners;
  std::memcpy(&owners, owner, sizeof owners);
  int32_t* const to[4] = {acc + (owners & 0xFFFF) * 16, acc + (owners >> 16 & 0xFFFF) * 16,
                          acc + (owners >> 32 & 0xFFFF) * 16, acc + (owners >> 48) * 16};
  __m512i sum[4];
  HWY_UNROLL(4) for (int n = 0; n < 4; ++n) {
    sum[n] = _mm512_dpbusd_epi32(_mm512_loadu_si512(to[n]), _mm512_slli_epi32(x, 8 * n), weight);
  }
  HWY_UNROLL(4) for (int n = 0; n < 4; ++n) _mm512_storeu_si512(to[n], sum[n]);
}

alignas(64) constexpr std::array<uint8_t, 64> kTurned = [] {
  std::array<uint8_t, 64> turned{};
  for (size_t i = 0; i < 64; ++i) turned[i] = static_cast<uint8_t>(i % 4 * 16 + i / 4);
  return turned;
}();

/// kSets: how many, 0 for any multiple of four.
template <int64_t kSets>
HWY_INLINE void LinearFours(const LinearWinnersI8Args& a) {
  const __m512i turn = _mm512_load_si512(kTurned.data());
  const int64_t sets = kSets ? kSets : a.sets;
  for (int64_t i = 0; i < a.count; ++i) {
    const int64_t p = a.index_k ? a.index_k[i] : i;
    const __m512i x = _mm512_set1_epi32(a.value_k[i]);
    for (int64_t n = 0; n < sets; n += 4) {
      AddToFourOwners(turn, a.weight_pnl + (p * sets + n) * 16, x, a.owner_pn + p * sets + n,
                      a.acc);
    }
  }
}
#endif

/// kVectors registers a set.
template <int kVectors, class D>
HWY_INLINE void LinearSets(D d, const LinearWinnersI8Args& a) {
#if HWY_TARGET == HWY_AVX3_DL
  if (a.lanes == 16 && a.sets == 4) return LinearFours<4>(a);
  if (a.lanes == 16 && a.sets % 4 == 0) return LinearFours<0>(a);
#endif
  constexpr int kSets = 4 / kVectors;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)) * kVectors, sets = a.sets;
  for (int64_t i = 0; i < a.count; ++i) {
    const int64_t p = a.index_k ? a.index_k[i] : i;
    const auto x = hn::Set(d, int32_t{a.value_k[i]});
    const int8_t* weight = a.weight_pnl + p * sets * lanes;
    const uint16_t* owner = a.owner_pn + p * sets;
    int64_t n = 0;
    for (; n + kSets <= sets; n += kSets) {
      AddToOwners<kSets, kVectors>(d, x, weight + n * lanes, owner + n, a.acc);
    }
    for (; n < sets; ++n) {
      AddToOwners<1, kVectors>(d, x, weight + n * lanes, owner + n, a.acc);
    }
  }
}

template <class D>
HWY_INLINE void LinearRows(D d, const LinearWinnersI8Args& a) {
  const int32_t vectors = a.lanes / static_cast<int32_t>(hn::Lanes(d));
  if (a.sets == 1 && a.owner_pn == nullptr) {
    if (vectors == 1) return LinearInRegisters<1>(d, a);
    if (vectors == 2) return LinearInRegisters<2>(d, a);
    if (vectors == 4) return LinearInRegisters<4>(d, a);
  }
  if (vectors == 1 && a.owner_pn != nullptr) return LinearSets<1>(d, a);
  if (vectors == 2 && a.owner_pn != nullptr) return LinearSets<2>(d, a);
  const hn::Rebind<int8_t, D> d8;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const int32_t row = a.sets * a.lanes;
  for (int64_t i = 0; i < a.count; ++i) {
    const int64_t p = a.index_k ? a.index_k[i] : i;
    const auto x = hn::Set(d, int32_t{a.value_k[i]});
    const int8_t* weight = a.weight_pnl + p * row;
    const uint16_t* owner = a.owner_pn ? a.owner_pn + p * a.sets : nullptr;
    for (int32_t n = 0; n < a.sets; ++n) {
      int32_t* acc = owner ? a.acc + owner[n] * int64_t{a.lanes} : a.acc;
      for (int32_t l = 0; l < a.lanes; l += lanes, weight += lanes) {
        const auto w = hn::PromoteTo(d, hn::LoadU(d8, weight));
        hn::StoreU(MultiplyAdd(hn::LoadU(d, acc + l), w, x), d, acc + l);
      }
    }
  }
}

void LinearWinners(const LinearWinnersI8Args& a) {
  std::copy_n(a.bias_o, int64_t{a.sets} * a.set_size * a.lanes, a.acc);
  LinearWinnersI8Args b = a;
  if (a.set_size == 1) {  // one row of all outputs
    b.lanes = a.sets * a.lanes;
    b.sets = 1;
  }
  const int32_t lanes = b.lanes;
  if (lanes % 16 == 0) return LinearRows(hn::CappedTag<int32_t, 16>(), b);
  if (lanes % 8 == 0) return LinearRows(hn::CappedTag<int32_t, 8>(), b);
  if (lanes % 4 == 0) return LinearRows(hn::CappedTag<int32_t, 4>(), b);
  const int32_t row = b.sets * lanes;
  for (int64_t i = 0; i < b.count; ++i) {
    const int64_t p = b.index_k ? b.index_k[i] : i;
    const int8_t* weight = b.weight_pnl + p * row;
    for (int32_t n = 0; n < b.sets; ++n) {
      int32_t* acc = b.acc + (b.owner_pn ? b.owner_pn[p * b.sets + n] * int64_t{lanes} : 0);
      for (int32_t l = 0; l < lanes; ++l) acc[l] += *weight++ * int32_t{b.value_k[i]};
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(LinearWinners);

void LinearWinnersI8(const LinearWinnersI8Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(LinearWinners)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
