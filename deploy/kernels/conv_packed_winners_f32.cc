// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads winners only (sparse-sparse): multiply, route and sum.
//
// Aligned forms: slot j of every position holds a winner of one and the same group of channels, and
// the owner of a
//   tap is constant over that group. So *which* channel won decides which weights are read, never
//   which accumulator they go to: accumulators of up to 10 output columns stay in registers and
//   nothing is scattered. kAlignedRows (kernel rows of 3 or 5 taps, stride 1): an entry is (ky,
//   slot); the winner of an input column is
//     broadcast once and multiplied with the kw neighbouring rows of weights for kw output columns.
//   kAlignedTaps: an entry is (ky, kx, slot).
//   Winners are first copied to [padded position, slot] as (offset of the channel's weights,
//   value), zeros around.
// kScattered: any owners, any number of winners: products are added to a row of accumulators in L1
// for each position. Read first: conv_packed.h, README.md. Tested in: conv_packed_f32_test.cc.
#include <algorithm>

#include "deploy/kernels/conv_packed.h"
#include "deploy/kernels/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/kernels/conv_packed_winners_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/kernels/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedWinnersF32Args;

/// Winners as [padded_h, padded_w, slots]: what an aligned tile reads.
struct SlotMap {
  const int32_t* offset;  ///< floats from weight_pnl to the winner's channel
  const float* value;
};

HWY_INLINE SlotMap MakeSlotMap(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t slots = a.plan.per_position;
  const int32_t channel =
      s.kernel_h * s.kernel_w * s.sets * s.lanes;  // floats of one channel's weights
  int32_t* offset = reinterpret_cast<int32_t*>(a.scratch);
  float* value = a.scratch + int64_t{s.padded_h()} * s.padded_w() * slots + 16;
  const hn::CappedTag<int32_t, 8> d;
  const hn::CappedTag<float, 8> df;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, channel);
  const int32_t end = (a.row_end - 1) * s.stride_h + s.kernel_h;
  for (int32_t y = a.row_begin * s.stride_h; y < end; ++y) {
    for (int32_t x = 0; x < s.padded_w(); ++x) {
      const int32_t in_y = y - s.pad_h, in_x = x - s.pad_w;
      const int64_t to = (int64_t{y} * s.padded_w() + x) * slots;
      if (in_y < 0 || in_y >= s.in_h || in_x < 0 || in_x >= s.in_w) {
        std::fill_n(offset + to, slots, 0);
        std::fill_n(value + to, slots, 0.0f);
        continue;
      }
      const int32_t position = in_y * s.in_w + in_x, first = position * s.in_c;
      const int32_t* index = a.winners.index_k + int64_t{position} * slots;
      const float* from = a.winners.value_k + int64_t{position} * slots;
      int32_t j = 0;
      for (; j + lanes <= slots; j += lanes) {
        const auto c = hn::Sub(hn::LoadU(d, index + j), hn::Set(d, first));
        hn::StoreU(hn::Mul(c, scale), d, offset + to + j);
        hn::StoreU(hn::LoadU(df, from + j), df, value + to + j);
      }
      for (; j < slots; ++j) {
        offset[to + j] = (index[j] - first) * channel;
        value[to + j] = from[j];
      }
    }
  }
  return {offset, value};
}

/// kT columns of outputs, lanes l … of block b; kKw = 3 or 5: kernel rows, 0: taps.
/// `first` is the slot map's element of (input row, input column) of the first output, slot 0.
template <class D, int kT, int kKw>
HWY_INLINE void AlignedTile(const Args& a, const SlotMap& map, int64_t first, int32_t b, int32_t l,
                            float* output) {
  const D d;
  const ConvPackedPlanF32& plan = a.plan;
  const ConvPackedShape& s = plan.shape;
  const int64_t slots = plan.per_position, column = slots * s.stride_w;
  const int64_t tap = int64_t{s.sets} * s.lanes;
  const int32_t o = b * s.lanes + l;
  hn::Vec<D> acc[kT];
  const hn::Vec<D> bias = hn::LoadU(d, plan.bias_o + o);
  HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
  for (int32_t e = plan.begin_b[b]; e < plan.begin_b[b + 1]; ++e) {
    const float* weight = plan.weight + plan.weight_e[e] + l;
    const int32_t* offset = map.offset + first + plan.input_e[e];
    const float* value = map.value + first + plan.input_e[e];
    if constexpr (kKw == 0) {
      HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
        acc[t] = hn::MulAdd(hn::Set(d, value[t * column]),
                            hn::LoadU(d, weight + offset[t * column]), acc[t]);
      }
    } else {
      // Input column i is tap kx of output column i - kx.
      HWY_UNROLL(16) for (int i = 0; i < kT + kKw - 1; ++i) {
        const hn::Vec<D> x = hn::Set(d, value[i * slots]);
        const float* taps = weight + offset[i * slots];
        HWY_UNROLL(8) for (int kx = 0; kx < kKw; ++kx) {
          if (i - kx >= 0 && i - kx < kT) {
            acc[i - kx] = hn::MulAdd(x, hn::LoadU(d, taps + kx * tap), acc[i - kx]);
          }
        }
      }
    }
  }
  HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
    StoreOutputs(d, acc[t], o, s.out_c, output + t * a.output_stride);
  }
}

template <class D, int kT, int kKw>
void AlignedRows(const Args& a, const SlotMap& map) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t width = static_cast<int32_t>(hn::Lanes(D()));
  // Block outermost: its weights (a quarter of a layer with S = 4) stay near while the rows pass
  // by. Two rows at once were tried for 32 registers and were no faster: g++ 12 spills the second
  // row's accumulators.
  for (int32_t b = 0; b < s.blocks(); ++b) {
    for (int32_t l = 0; l < s.lanes && b * s.lanes + l < s.out_c; l += width) {
      for (int32_t oy = a.row_begin; oy < a.row_end; ++oy) {
        for (int32_t ox = 0; ox < s.out_w; ox = NextTile(ox, kT, s.out_w)) {
          const int64_t pixel = int64_t{oy} * s.stride_h * s.padded_w() + int64_t{ox} * s.stride_w;
          AlignedTile<D, kT, kKw>(a, map, pixel * a.plan.per_position, b, l,
                                  a.output + (int64_t{oy} * s.out_w + ox) * a.output_stride);
        }
      }
    }
  }
}

template <class D, int kKw>
void AlignedColumns(const Args& a, const SlotMap& map) {
  switch (ChooseTileColumns(a.plan.shape.out_w)) {
    case 10:
      return AlignedRows<D, 10, kKw>(a, map);
    case 8:
      return AlignedRows<D, 8, kKw>(a, map);
    case 5:
      return AlignedRows<D, 5, kKw>(a, map);
    case 4:
      return AlignedRows<D, 4, kKw>(a, map);
    case 2:
      return AlignedRows<D, 2, kKw>(a, map);
    default:
      return AlignedRows<D, 1, kKw>(a, map);
  }
}

template <class D>
void Aligned(const Args& a) {
  const SlotMap map = MakeSlotMap(a);
  if (a.plan.form == ConvPackedForm::kAlignedTaps) return AlignedColumns<D, 0>(a, map);
  if (a.plan.shape.kernel_w == 3) return AlignedColumns<D, 3>(a, map);
  return AlignedColumns<D, 5>(a, map);
}

/// Adds the winners of one input position under tap (ky, kx) to the accumulators of one output
/// position.
template <class D>
HWY_INLINE void ScatterPosition(const Args& a, int32_t position, int32_t ky, int32_t kx,
                                float* acc) {
  const D d;
  const ConvPackedPlanF32& plan = a.plan;
  const ConvPackedShape& s = plan.shape;
  const int32_t* begin_p = a.winners.begin_p;
  const int64_t begin = begin_p ? begin_p[position] : int64_t{position} * a.winners.per_position;
  const int64_t end = begin_p ? begin_p[position + 1] : begin + a.winners.per_position;
  const int32_t width = static_cast<int32_t>(hn::Lanes(d));
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = a.winners.index_k[i] - int64_t{position} * s.in_c;
    const int64_t p = (c * s.kernel_h + ky) * s.kernel_w + kx;
    const float* weight = plan.weight + p * s.sets * s.lanes;
    const hn::Vec<D> value = hn::Set(d, a.winners.value_k[i]);
    float* set = acc;
    for (int32_t n = 0; n < s.sets; ++n, set += s.set_size * s.lanes) {
      float* to = plan.owner_pn ? set + plan.owner_pn[p * s.sets + n] * s.lanes : set;
      for (int32_t l = 0; l < s.lanes; l += width, weight += width) {
        hn::StoreU(hn::MulAdd(value, hn::LoadU(d, weight), hn::LoadU(d, to + l)), d, to + l);
      }
    }
  }
}

template <class D>
void Scattered(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const int64_t row = int64_t{s.blocks()} * s.lanes;
  constexpr int32_t kColumns =
      4;  // neighbours take turns, so that an add rarely waits for the one before
  for (int32_t oy = a.row_begin; oy < a.row_end; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ox += kColumns) {
      const int32_t columns = std::min(kColumns, s.out_w - ox);
      for (int32_t t = 0; t < columns; ++t) std::copy_n(a.plan.bias_o, row, a.scratch + t * row);
      for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
        const int32_t y = oy * s.stride_h - s.pad_h + ky;
        if (y < 0 || y >= s.in_h) continue;
        for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
          for (int32_t t = 0; t < columns; ++t) {
            const int32_t x = (ox + t) * s.stride_w - s.pad_w + kx;
            if (x < 0 || x >= s.in_w) continue;
            ScatterPosition<D>(a, y * s.in_w + x, ky, kx, a.scratch + t * row);
          }
        }
      }
      for (int32_t t = 0; t < columns; ++t) {
        std::copy_n(a.scratch + t * row, s.out_c,
                    a.output + (int64_t{oy} * s.out_w + ox + t) * a.output_stride);
      }
    }
  }
}

void ConvWinners(const Args& a) {
  if (a.row_begin >= a.row_end) return;
  const int32_t lanes = a.plan.shape.lanes;
  if (a.plan.form !=
      ConvPackedForm::kScattered) {  // lanes % 4 == 0, see PrepareConvPackedWinnersF32
    if (lanes % 16 == 0) return Aligned<hn::CappedTag<float, 16>>(a);
    if (lanes % 8 == 0) return Aligned<hn::CappedTag<float, 8>>(a);
    return Aligned<hn::CappedTag<float, 4>>(a);
  }
  // The widest vector whose lanes divide L.
  if (lanes % 16 == 0) return Scattered<hn::CappedTag<float, 16>>(a);
  if (lanes % 8 == 0) return Scattered<hn::CappedTag<float, 8>>(a);
  if (lanes % 4 == 0) return Scattered<hn::CappedTag<float, 4>>(a);
  if (lanes % 2 == 0) return Scattered<hn::CappedTag<float, 2>>(a);
  return Scattered<hn::CappedTag<float, 1>>(a);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvWinners);

void ConvPackedWinnersF32(const ConvPackedWinnersF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvWinners)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
