// SPDX-License-Identifier: Apache-2.0
// Packed linear layers.
//
// Dense input: a kernel block walks its list of inputs with four accumulators in turn (entry e adds to e mod 4), which
// hides the latency of the multiply-add. 4 samples at once share the weights. One sample and four are summed alike.
// Winners: for each winner its N rows of weights go to the rows of their owners. Accumulators [N·S·L] stay in L1, and
// owners may be arbitrary. L = 1: a product and a scalar add for each set.
// Read first: linear_packed.h. Tested in: linear_packed_f32_test.cc.
#include <algorithm>
#include <cstring>

#include "deploy/ops/linear/linear_packed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/linear/linear_packed_f32.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Stores acc to the outputs from o on that exist.
template <class D>
HWY_INLINE void StoreOutputs(D d, hn::Vec<D> acc, int32_t o, int32_t outputs, float* y) {
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  if (HWY_LIKELY(o + lanes <= outputs)) {
    hn::StoreU(acc, d, y + o);
    return;
  }
  HWY_ALIGN float lane[16];
  hn::Store(acc, d, lane);
  for (int32_t l = 0; o + l < outputs; ++l) y[o + l] = lane[l];
}

/// kB samples, lanes l … of block b.
template <class D, int kB>
HWY_INLINE void DenseBlock(const LinearPackedDenseF32Args& a, const float* x, float* y, int32_t b,
                           int32_t l) {
  const D d;
  constexpr int kChains = 4;
  const int32_t o = b * a.lanes + l;
  hn::Vec<D> acc[kB][kChains];
  HWY_UNROLL(4) for (int i = 0; i < kB; ++i) {
    acc[i][0] = hn::LoadU(d, a.bias_o + o);
    HWY_UNROLL(4) for (int j = 1; j < kChains; ++j) acc[i][j] = hn::Zero(d);
  }
  int32_t e = a.begin_b[b];
  const int32_t end = a.begin_b[b + 1];
  for (; e + kChains <= end; e += kChains) {
    HWY_UNROLL(4) for (int j = 0; j < kChains; ++j) {
      const hn::Vec<D> weight = hn::LoadU(d, a.weight + a.weight_e[e + j] + l);
      const float* in = x + a.input_e[e + j];
      HWY_UNROLL(4) for (int i = 0; i < kB; ++i) {
        acc[i][j] = hn::MulAdd(hn::Set(d, in[i * a.input_stride]), weight, acc[i][j]);
      }
    }
  }
  for (; e < end; ++e) {
    const hn::Vec<D> weight = hn::LoadU(d, a.weight + a.weight_e[e] + l);
    const float* in = x + a.input_e[e];
    HWY_UNROLL(4) for (int i = 0; i < kB; ++i) {
      acc[i][0] = hn::MulAdd(hn::Set(d, in[i * a.input_stride]), weight, acc[i][0]);
    }
  }
  HWY_UNROLL(4) for (int i = 0; i < kB; ++i) {
    const hn::Vec<D> sum = hn::Add(hn::Add(acc[i][0], acc[i][1]), hn::Add(acc[i][2], acc[i][3]));
    StoreOutputs(d, sum, o, a.outputs, y + i * a.output_stride);
  }
}

template <class D>
void Dense(const LinearPackedDenseF32Args& a) {
  // 4 samples × 4 chains fill 16 registers; targets with 16 in all take 2.
  constexpr int kB = HWY_MAX_BYTES >= 64 ? 4 : 2;
  const int32_t width = static_cast<int32_t>(hn::Lanes(D()));
  for (int32_t b = 0; b < a.sets * a.set_size; ++b) {
    for (int32_t l = 0; l < a.lanes && b * a.lanes + l < a.outputs; l += width) {
      int64_t i = 0;
      for (; i + kB <= a.batch; i += kB) {
        DenseBlock<D, kB>(a, a.input + i * a.input_stride, a.output + i * a.output_stride, b, l);
      }
      for (; i < a.batch; ++i) {
        DenseBlock<D, 1>(a, a.input + i * a.input_stride, a.output + i * a.output_stride, b, l);
      }
    }
  }
}

void LinearDense(const LinearPackedDenseF32Args& a) {
  // The widest vector whose lanes divide L.
  if (a.lanes % 16 == 0) return Dense<hn::CappedTag<float, 16>>(a);
  if (a.lanes % 8 == 0) return Dense<hn::CappedTag<float, 8>>(a);
  if (a.lanes % 4 == 0) return Dense<hn::CappedTag<float, 4>>(a);
  if (a.lanes % 2 == 0) return Dense<hn::CappedTag<float, 2>>(a);
  return Dense<hn::CappedTag<float, 1>>(a);
}

template <class D>
void Winners(const LinearPackedWinnersF32Args& a) {
  const D d;
  // Copies: a store to the accumulators might otherwise change them, as far as the compiler knows.
  const int32_t width = static_cast<int32_t>(hn::Lanes(d)), lanes = a.lanes;
  const int32_t set_floats = a.set_size * lanes, row = a.sets * lanes;
  const int32_t set_begin = a.set_begin, set_end = a.set_end;
  float* first = a.scratch + int64_t{set_begin} * set_floats;
  for (int64_t i = 0; i < a.winners.count; ++i) {
    const int64_t p = a.winners.index_k[i];
    const float* weight = a.weight_pnl + p * row + int64_t{set_begin} * lanes;
    const hn::Vec<D> value = hn::Set(d, a.winners.value_k[i]);
    const uint8_t* owner_n = a.owner_pn ? a.owner_pn + p * a.sets : nullptr;
    float* set = first;
    if (owner_n != nullptr && lanes == width) {
      for (int32_t n = set_begin; n < set_end; ++n, set += set_floats, weight += width) {
        float* to = set + owner_n[n] * width;
        hn::StoreU(hn::MulAdd(value, hn::LoadU(d, weight), hn::LoadU(d, to)), d, to);
      }
      continue;
    }
    for (int32_t n = set_begin; n < set_end; ++n, set += set_floats) {
      float* to = owner_n ? set + owner_n[n] * lanes : set;
      for (int32_t l = 0; l < lanes; l += width, weight += width) {
        hn::StoreU(hn::MulAdd(value, hn::LoadU(d, weight), hn::LoadU(d, to + l)), d, to + l);
      }
    }
  }
}

#if HWY_MAX_BYTES >= 64
/// L = 16, kSets sets from n on. What a winner adds to, and where its weights lie, is loaded kAhead
/// winners before: an address that comes from a load just issued keeps multiply-adds waiting, and
/// rows of weights come from L2.
template <int kSets>
HWY_INLINE void WinnersOfSets(const LinearPackedWinnersF32Args& a, int32_t n) {
  constexpr int kAhead = 3;
  constexpr int64_t kPrefetch = 12;
  const hn::CappedTag<float, 16> d;
  const int64_t set_floats = int64_t{a.set_size} * 16, row = int64_t{a.sets} * 16;
  const int32_t* HWY_RESTRICT index_k = a.winners.index_k;
  const float* HWY_RESTRICT weight_pl = a.weight_pnl + int64_t{n} * 16;
  const int64_t last = a.winners.count - 1;
  const float* weight[kAhead];
  uint32_t owners[kAhead] = {};  // a byte for each set; S = 1: 0
  const auto look = [&](int64_t i, const float*& to_weight, uint32_t& to_owners) HWY_ATTR {
    const int64_t p = index_k[std::min(i, last)];
    to_weight = weight_pl + p * row;
    if (a.owner_pn != nullptr) std::memcpy(&to_owners, a.owner_pn + p * a.sets + n, kSets);
  };
  for (int j = 0; j < kAhead; ++j) look(j, weight[j], owners[j]);
  for (int64_t i = 0; i <= last; ++i) {
    const float* row_weight = weight[0];
    uint32_t row_owners = owners[0];
    for (int j = 0; j + 1 < kAhead; ++j) {
      weight[j] = weight[j + 1];
      owners[j] = owners[j + 1];
    }
    look(i + kAhead, weight[kAhead - 1], owners[kAhead - 1]);
    const float* far = weight_pl + index_k[std::min(i + kPrefetch, last)] * row;
    HWY_UNROLL(4) for (int j = 0; j < kSets; ++j) hwy::Prefetch(far + j * 16);
    const auto value = hn::Set(d, a.winners.value_k[i]);
    float* set = a.scratch + n * set_floats;
    HWY_UNROLL(4) for (int j = 0; j < kSets; ++j, set += set_floats, row_owners >>= 8) {
      float* to = set + (row_owners & 255) * 16;
      hn::StoreU(hn::MulAdd(value, hn::LoadU(d, row_weight + j * 16), hn::LoadU(d, to)), d, to);
    }
  }
}

void WinnersOfSixteenLanes(const LinearPackedWinnersF32Args& a) {
  if (a.winners.count == 0) return;
  int32_t n = a.set_begin;
  for (; n + 4 <= a.set_end; n += 4) WinnersOfSets<4>(a, n);
  switch (a.set_end - n) {
    case 3:
      return WinnersOfSets<3>(a, n);
    case 2:
      return WinnersOfSets<2>(a, n);
    case 1:
      return WinnersOfSets<1>(a, n);
    default:
      return;
  }
}
#endif

void LinearWinners(const LinearPackedWinnersF32Args& args) {
  LinearPackedWinnersF32Args a = args;
  if (a.set_end == 0) a.set_end = a.sets;
  const int64_t set_floats = int64_t{a.set_size} * a.lanes;
  const int64_t first = a.set_begin * set_floats, last = a.set_end * set_floats;
  std::copy(a.bias_o + first, a.bias_o + last, a.scratch + first);
  if (a.lanes % 16 == 0) {
#if HWY_MAX_BYTES >= 64
    WinnersOfSixteenLanes(a);
#else
    Winners<hn::CappedTag<float, 16>>(a);
#endif
  } else if (a.lanes % 8 == 0) {
    Winners<hn::CappedTag<float, 8>>(a);
  } else if (a.lanes % 4 == 0) {
    Winners<hn::CappedTag<float, 4>>(a);
  } else if (a.lanes % 2 == 0) {
    Winners<hn::CappedTag<float, 2>>(a);
  } else {
    Winners<hn::CappedTag<float, 1>>(a);
  }
  const int64_t end = std::min<int64_t>(last, a.outputs);
  if (first < end) std::copy(a.scratch + first, a.scratch + end, a.output + first);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(LinearDense);
HWY_EXPORT(LinearWinners);

void LinearPackedDenseF32(const LinearPackedDenseF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(LinearDense)(args);
}

void LinearPackedWinnersF32(const LinearPackedWinnersF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(LinearWinners)(args);
}

int64_t LinearPackedScratchFloats(int32_t set_size, int32_t lanes, int32_t sets) noexcept {
  return int64_t{set_size} * lanes * sets;
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
