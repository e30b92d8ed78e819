// SPDX-License-Identifier: Apache-2.0
// k-WTA in integer keys; read kwta.h for what it computes.
//
//   key = bits of max(x, 0): orders like the value
//
// One winner in each group of 2^j channels (the aligned networks): groups lie back to back in memory, so the map is one
// row of groups. A tournament of even against odd lanes halves it j times. No branch depends on data.
//
// Otherwise: the k-th largest key is found by bisection, first over values, which converges fast where keys are spread
// like activations, then over integers, which always ends. Keys above it are compressed out, and equal ones from the
// lowest index on until k are found. Costs about 8 passes over the keys of a map, all in registers or L1.
// Read first: kwta.h. Tested in: kwta_f32_test.cc.
#include "deploy/ops/kwta/kwta.h"

#include <algorithm>
#include <bit>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/kwta/kwta_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/kwta/kwta_threshold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

/// ReLU that makes NaN and -0 into 0: a comparison with NaN is false.
HWY_INLINE VF Positive(VF x) { return hn::IfThenElseZero(hn::Gt(x, hn::Zero(DF())), x); }
HWY_INLINE float PositiveScalar(float x) { return x > 0.0f ? x : 0.0f; }

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

/// The same of the 2×2 max-pool of x, channels a multiple of 16; in the order of max_pool_f32.
HWY_INLINE void MakePooledKeys(const KwtaF32Args& a, int32_t n, int32_t* keys) {
  const DI d;
  const DF df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d)), width = a.pool_w / 2;
  const int64_t row = int64_t{a.pool_w} * a.channels;
  int32_t* to = keys;
  for (int32_t py = 0; py < a.positions / width; ++py) {
    const float* x = a.x + 2 * py * row;
    for (int32_t px = 0; px < width; ++px, x += 2 * a.channels) {
      for (int32_t c = 0; c < a.channels; c += lanes, to += lanes) {
        const float* right = x + a.channels + c;
        const VF above = hn::Max(hn::LoadU(df, x + c), hn::LoadU(df, right));
        const VF largest =
            hn::Max(hn::Max(above, hn::LoadU(df, x + row + c)), hn::LoadU(df, right + row));
        hn::StoreU(hn::BitCast(d, Positive(largest)), d, to);
      }
    }
  }
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
      out += Emit(keys, units, nullptr, first, FindThreshold(keys, units, k, candidates),
                  a.index_k + out, a.value_k + out);
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

/// The k winners of a whole map's keys (padded), which are overwritten. kept, place: room for n + 16.
HWY_INLINE void SelectOfMap(const KwtaF32Args& a, int32_t n, int32_t* keys, int32_t* kept,
                            int32_t* place) {
  if (const int32_t bound = SampleBound(keys, n, a.winners); bound > 0) {
    const int32_t found = KeepAtLeast(keys, n, bound, kept, place);
    if (found >= a.winners) {
      const Threshold threshold = FindThreshold(kept, found, a.winners, keys);
      Emit(kept, found, place, 0, threshold, a.index_k, a.value_k);
      return;
    }
  }
  Emit(keys, n, nullptr, 0, FindThreshold(keys, n, a.winners, kept), a.index_k, a.value_k);
}

void Kwta(const KwtaF32Args& a) {
  if (RunTournament(a)) {
    return;
  } else if (!a.global) {
    Local(a);
  } else if (a.groups == 1 && a.chunk == 1) {
    const int32_t n = a.positions * a.channels;
    int32_t* keys = reinterpret_cast<int32_t*>(a.scratch);
    if (a.pool_w > 0) {
      MakePooledKeys(a, n, keys);
    } else {
      MakeKeys(a.x, n, keys);
    }
    SelectOfMap(a, n, keys, keys + n + kKwtaSlack, keys + 2 * (n + kKwtaSlack));
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
  return 3 * (units + kKwtaSlack) + 2 * int64_t{args.groups};
}

bool KwtaPoolsF32(const KwtaF32Args& args) noexcept {
  return args.global && args.groups == 1 && args.chunk == 1 && args.channels % 16 == 0;
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
