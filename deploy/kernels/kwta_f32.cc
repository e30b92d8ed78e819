// SPDX-License-Identifier: Apache-2.0
// k-WTA in integer keys; read kwta.h for what it computes.
//
//   key = bits of max(x, 0): orders like the value.
//   One winner in each group of 2^j channels (the aligned networks): groups lie back to back in
//   memory, so the map is
//     one row of groups; a tournament of even against odd lanes halves it j times. No branch
//     depends on data.
//   Otherwise: the k-th largest key by bisection (first over values, which converges fast where
//   keys are spread like
//     activations, then over integers, which ends always), then keys above it are compressed out,
//     and equal ones from the lowest index on until k are found. Costs about 8 passes over the keys
//     of a map, all in registers or L1.
// Read first: kwta.h. Tested in: kwta_f32_test.cc.
#include "deploy/kernels/kwta.h"

#include <algorithm>
#include <bit>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/kernels/kwta_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::CappedTag<float, 16>;
using DI = hn::CappedTag<int32_t, 16>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

/// ReLU that makes NaN and -0 into 0: a comparison with NaN is false.
HWY_INLINE VF Positive(VF x) { return hn::IfThenElseZero(hn::Gt(x, hn::Zero(DF())), x); }
HWY_INLINE float PositiveScalar(float x) { return x > 0.0f ? x : 0.0f; }

/// Number of keys[0 … n) >= bound. keys are padded with -1 to whole vectors.
HWY_INLINE int32_t CountAtLeast(const int32_t* keys, int32_t n, int32_t bound) {
  const DI d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const VI below = hn::Set(d, bound - 1);
  VI sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  int32_t i = 0;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  const __m512i one = _mm512_set1_epi32(1);
  __m512i count[4] = {};
  for (; i + 3 * lanes < n; i += 4 * lanes) {
    HWY_UNROLL(4) for (int j = 0; j < 4; ++j) {
      const __m512i key = _mm512_loadu_si512(keys + i + j * lanes);
      count[j] =
          _mm512_mask_add_epi32(count[j], _mm512_cmpgt_epi32_mask(key, below.raw), count[j], one);
    }
  }
  sum0 = VI{_mm512_add_epi32(count[0], count[1])};
  sum1 = VI{_mm512_add_epi32(count[2], count[3])};
#endif
  for (; i + lanes < n; i += 2 * lanes) {
    sum0 = hn::Sub(sum0, hn::VecFromMask(d, hn::Gt(hn::LoadU(d, keys + i), below)));
    sum1 = hn::Sub(sum1, hn::VecFromMask(d, hn::Gt(hn::LoadU(d, keys + i + lanes), below)));
  }
  if (i < n) sum0 = hn::Sub(sum0, hn::VecFromMask(d, hn::Gt(hn::LoadU(d, keys + i), below)));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
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
        hn::StoreU(hn::Compress(key, inside), d, candidates + found);
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

/// Writes the winners among keys[0 … n) (padded) that stand at map elements first, first + 1, …;
/// returns how many.
HWY_INLINE int32_t Emit(const int32_t* keys, int32_t n, int32_t first, Threshold threshold,
                        int32_t* index_k, float* value_k) {
  const DI d;
  const DF df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const VI above = hn::Set(d, threshold.above);
  VI index = hn::Iota(d, first);
  const VI step = hn::Set(d, lanes);
  int32_t ties = threshold.ties, out = 0;
  for (int32_t i = 0; i < n; i += lanes, index = hn::Add(index, step)) {
    const VI key = hn::LoadU(d, keys + i);
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
    hn::StoreU(hn::Compress(index, wins), d, index_k + out);
    hn::StoreU(hn::BitCast(df, hn::Compress(key, wins)), df, value_k + out);
    out += static_cast<int32_t>(hn::CountTrue(d, wins));
  }
  return out;
}

/// keys[0 … n) from x, padded.
HWY_INLINE void MakeKeys(const float* x, int32_t n, int32_t* keys) {
  const DI d;
  const DF df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  int32_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::BitCast(d, Positive(hn::LoadU(df, x + i))), d, keys + i);
  }
  for (; i < n; ++i) keys[i] = std::bit_cast<int32_t>(PositiveScalar(x[i]));
  PadKeys(keys, n);
}

#if HWY_TARGET != HWY_SCALAR  // one lane has no even and odd ones
struct Best {
  VF value;
  VI index;
};

/// Largest of each of Lanes consecutive groups of kWidth elements from element `first` on.
template <int kWidth>
HWY_INLINE Best BestOfGroups(const float* x, int32_t first) {
  const DI d;
  const DF df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  VF even, odd;
  VI even_index, odd_index;
  if constexpr (kWidth == 2) {
    const VF low = Positive(hn::LoadU(df, x + first));
    const VF high = Positive(hn::LoadU(df, x + first + lanes));
    even = hn::ConcatEven(df, high, low);
    odd = hn::ConcatOdd(df, high, low);
    even_index = hn::Add(hn::Set(d, first), hn::ShiftLeft<1>(hn::Iota(d, 0)));
    odd_index = hn::Add(even_index, hn::Set(d, 1));
  } else {
    const Best low = BestOfGroups<kWidth / 2>(x, first);
    const Best high = BestOfGroups<kWidth / 2>(x, first + lanes * kWidth / 2);
    even = hn::ConcatEven(df, high.value, low.value);
    odd = hn::ConcatOdd(df, high.value, low.value);
    even_index = hn::ConcatEven(d, high.index, low.index);
    odd_index = hn::ConcatOdd(d, high.index, low.index);
  }
  const auto odd_wins = hn::Gt(odd, even);  // a tie stays with the lower index
  return {hn::IfThenElse(odd_wins, odd, even),
          hn::IfThenElse(hn::RebindMask(d, odd_wins), odd_index, even_index)};
}
#endif

/// One winner in each group of kWidth consecutive elements of x.
template <int kWidth>
HWY_INLINE void OneOfGroups(const float* x, int64_t groups, int32_t* index_k, float* value_k) {
  int64_t g = 0;
#if HWY_TARGET != HWY_SCALAR
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DI()));
  if constexpr (kWidth > 1) {
    for (; g + lanes <= groups; g += lanes) {
      const Best best = BestOfGroups<kWidth>(x, static_cast<int32_t>(g * kWidth));
      hn::StoreU(best.index, DI(), index_k + g);
      hn::StoreU(best.value, DF(), value_k + g);
    }
  }
#endif
  for (; g < groups; ++g) {
    int32_t winner = static_cast<int32_t>(g * kWidth);
    float value = PositiveScalar(x[winner]);
    for (int32_t i = winner + 1; i < (g + 1) * kWidth; ++i) {
      if (x[i] > value) {
        value = x[i];
        winner = i;
      }
    }
    index_k[g] = winner;
    value_k[g] = value;
  }
}

/// True if the tournament fits: one winner of each power-of-two group of a position.
HWY_INLINE bool RunTournament(const KwtaF32Args& a) {
  if (a.global || a.chunk != 1 || a.winners != a.groups) return false;
  const int64_t groups = int64_t{a.positions} * a.groups;
  switch (a.channels / a.groups) {
    case 1:
      OneOfGroups<1>(a.x, groups, a.index_k, a.value_k);
      return true;
    case 2:
      OneOfGroups<2>(a.x, groups, a.index_k, a.value_k);
      return true;
    case 4:
      OneOfGroups<4>(a.x, groups, a.index_k, a.value_k);
      return true;
    case 8:
      OneOfGroups<8>(a.x, groups, a.index_k, a.value_k);
      return true;
    case 16:
      OneOfGroups<16>(a.x, groups, a.index_k, a.value_k);
      return true;
    case 32:
      OneOfGroups<32>(a.x, groups, a.index_k, a.value_k);
      return true;
    default:
      return false;
  }
}

/// Keys of units: rows of x that start `row_stride` apart, `row_units` units of `chunk` channels in
/// each, packed.
HWY_INLINE void MakeUnitKeys(const float* x, int32_t rows, int64_t row_stride, int32_t row_units,
                             int32_t chunk, int32_t* keys) {
  for (int32_t row = 0; row < rows; ++row) {
    const float* channel = x + row * row_stride;
    for (int32_t u = 0; u < row_units; ++u) {
      float sum = 0.0f;
      for (int32_t c = 0; c < chunk; ++c) sum += PositiveScalar(*channel++);
      *keys++ = std::bit_cast<int32_t>(sum);
    }
  }
  PadKeys(keys, 0);
}

/// Global scope with groups or chunks: thresholds of all groups first (kept in scratch), then one
/// walk in index order.
HWY_INLINE void GlobalOfUnits(const KwtaF32Args& a) {
  const int32_t width = a.channels / a.groups, units = width / a.chunk;
  const int32_t n = a.positions * units;  // of one group
  int32_t* keys = reinterpret_cast<int32_t*>(a.scratch);
  int32_t* candidates = keys + n + kKwtaSlack;
  int32_t* above_g = candidates + n + kKwtaSlack;
  int32_t* ties_g = above_g + a.groups;
  for (int32_t g = 0; g < a.groups; ++g) {
    MakeUnitKeys(a.x + g * width, a.positions, a.channels, units, a.chunk, keys);
    const Threshold threshold = FindThreshold(keys, n, a.winners / a.groups, candidates);
    above_g[g] = threshold.above;
    ties_g[g] = threshold.ties;
  }
  int64_t out = 0;
  for (int32_t p = 0; p < a.positions; ++p) {
    for (int32_t unit = 0; unit < a.channels / a.chunk; ++unit) {
      const int32_t first = p * a.channels + unit * a.chunk, g = unit / units;
      float sum = 0.0f;
      for (int32_t c = 0; c < a.chunk; ++c) sum += PositiveScalar(a.x[first + c]);
      const int32_t key = std::bit_cast<int32_t>(sum);
      const bool tie = key == above_g[g] && ties_g[g] > 0;
      if (!tie && key <= above_g[g]) continue;
      ties_g[g] -= tie;
      for (int32_t c = first; c < first + a.chunk; ++c, ++out) {
        a.index_k[out] = c;
        a.value_k[out] = PositiveScalar(a.x[c]);
      }
    }
  }
}

HWY_INLINE void Local(const KwtaF32Args& a) {
  const int32_t width = a.channels / a.groups, units = width / a.chunk, k = a.winners / a.groups;
  int32_t* keys = reinterpret_cast<int32_t*>(a.scratch);
  int32_t* candidates = keys + units + kKwtaSlack;
  int64_t out = 0;
  for (int32_t first = 0; first < a.positions * a.channels; first += width) {
    if (a.chunk == 1) {
      MakeKeys(a.x + first, units, keys);
      out += Emit(keys, units, first, FindThreshold(keys, units, k, candidates), a.index_k + out,
                  a.value_k + out);
      continue;
    }
    MakeUnitKeys(a.x + first, 1, 0, units, a.chunk, keys);
    Threshold threshold = FindThreshold(keys, units, k, candidates);
    for (int32_t u = 0; u < units; ++u) {
      const bool tie = keys[u] == threshold.above && threshold.ties > 0;
      if (!tie && keys[u] <= threshold.above) continue;
      threshold.ties -= tie;
      for (int32_t c = first + u * a.chunk; c < first + (u + 1) * a.chunk; ++c, ++out) {
        a.index_k[out] = c;
        a.value_k[out] = PositiveScalar(a.x[c]);
      }
    }
  }
}

void Kwta(const KwtaF32Args& a) {
  if (RunTournament(a)) {
    return;
  } else if (!a.global) {
    Local(a);
  } else if (a.groups == 1 && a.chunk == 1) {
    const int32_t n = a.positions * a.channels;
    int32_t* keys = reinterpret_cast<int32_t*>(a.scratch);
    MakeKeys(a.x, n, keys);
    Emit(keys, n, 0, FindThreshold(keys, n, a.winners, keys + n + kKwtaSlack), a.index_k,
         a.value_k);
  } else {
    GlobalOfUnits(a);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Kwta);

int64_t KwtaCountF32(const KwtaF32Args& args) noexcept {
  return int64_t{args.winners} * args.chunk * (args.global ? 1 : args.positions);
}

int64_t KwtaScratchFloats(const KwtaF32Args& args) noexcept {
  const int64_t units =
      int64_t{args.channels} / args.groups / args.chunk * (args.global ? args.positions : 1);
  return 2 * (units + kKwtaSlack) + 2 * int64_t{args.groups};
}

void KwtaF32(const KwtaF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(Kwta)(args);
  if (args.begin_p == nullptr) return;
  const int64_t count = KwtaCountF32(args);
  int64_t i = 0;
  for (int32_t p = 0; p <= args.positions; ++p) {
    while (i < count && args.index_k[i] < int64_t{p} * args.channels) ++i;
    args.begin_p[p] = static_cast<int32_t>(i);
  }
}

void ScatterWinnersF32(const int32_t* index_k, const float* value_k, int64_t count, float* dense,
                       int64_t elements) noexcept {
  std::memset(dense, 0, static_cast<size_t>(elements) * sizeof(float));
  for (int64_t i = 0; i < count; ++i) dense[index_k[i]] = value_k[i];
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
