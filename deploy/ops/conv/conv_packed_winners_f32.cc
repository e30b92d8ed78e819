// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads winners only (sparse-sparse): multiply, route and sum.
//
// Aligned forms: slot j of every position holds a winner of one and the same group of channels, and the owner of a tap
// is constant over that group. So *which* channel won decides which weights are read, never which accumulator they go
// to. Accumulators of up to 10 output columns stay in registers, and nothing is scattered.
//   kAlignedRows  kernel rows of 3 or 5 taps, stride 1. An entry is (ky, slot). The winner of an input column is
//                 broadcast once and multiplied with the kw neighbouring rows of weights for kw output columns.
//   kAlignedTaps  An entry is (ky, kx, slot).
// Winners are first copied to a plane of channels and one of values for each slot, with zeros around. One load then
// gives four neighbouring columns' channels.
//
// kScattered takes any owners and any number of winners. Products are added to a row of accumulators in L1 for each
// position. Read first: conv_packed.h, deploy/ops/README.md. Tested in: conv_packed_f32_test.cc.
#include <algorithm>
#include <cstring>

#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_packed_winners_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedWinnersF32Args;

/// Winners as planes [slots][padded_h][pitch]: what an aligned tile reads.
struct SlotMap {
  uint16_t* channel;
  float* value;
};

#if HWY_TARGET != HWY_SCALAR
/// Slots j … j + 3 of positions q … q + 3; to: of the first slot and position.
HWY_INLINE void FourSlots(const Args& a, const SlotPlanes& planes, int32_t q, int32_t j, int64_t to,
                          const SlotMap& map) {
  const hn::FixedTag<int32_t, 4> d;
  const hn::FixedTag<int64_t, 2> dd;
  const hn::FixedTag<uint16_t, 4> d16;
  const auto transpose = [&](auto v0, auto v1, auto v2, auto v3, const auto& store) HWY_ATTR {
    const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, v0, v1));
    const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, v2, v3));
    const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, v0, v1));
    const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, v2, v3));
    store(0, hn::BitCast(d, hn::InterleaveLower(dd, low01, low23)));
    store(1, hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23)));
    store(2, hn::BitCast(d, hn::InterleaveLower(dd, high01, high23)));
    store(3, hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23)));
  };
  const int64_t slots = a.plan.per_position;
  const int32_t* value = reinterpret_cast<const int32_t*>(a.winners.value_k) + q * slots + j;
  transpose(hn::LoadU(d, value), hn::LoadU(d, value + slots), hn::LoadU(d, value + 2 * slots),
            hn::LoadU(d, value + 3 * slots), [&](int64_t slot, auto v) HWY_ATTR {
              hn::StoreU(v, d, reinterpret_cast<int32_t*>(map.value) + to + slot * planes.plane());
            });
  const int32_t* index = a.winners.index_k + q * slots + j;
  const auto channel = [&](int32_t i) HWY_ATTR {
    return hn::Sub(hn::LoadU(d, index + i * slots), hn::Set(d, (q + i) * a.plan.shape.in_c));
  };
  transpose(channel(0), channel(1), channel(2), channel(3), [&](int64_t slot, auto v) HWY_ATTR {
    hn::StoreU(hn::DemoteTo(d16, v), d16, map.channel + to + slot * planes.plane());
  });
}
#endif

#if HWY_MAX_BYTES >= 64
/// Slots j … j + 7 of 16 positions from q on; those past the map repeat its last one.
HWY_INLINE void EightSlots(const Args& a, const SlotPlanes& planes, int32_t q, int32_t j,
                           int64_t to, const SlotMap& map) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Half<decltype(d)> half;
  const hn::RebindToSigned<decltype(half)> half_i;
  const hn::Rebind<uint16_t, decltype(di)> d16;
  const int64_t slots = a.plan.per_position;
  const int32_t last = a.plan.shape.in_h * a.plan.shape.in_w - 1;
  TransposeSixteen(
      [&](int32_t i) HWY_ATTR {
        const int32_t position = std::min(q + i, last);
        const auto channel = hn::Sub(hn::LoadU(half_i, a.winners.index_k + position * slots + j),
                                     hn::Set(half_i, position * a.plan.shape.in_c));
        return hn::Combine(d, hn::BitCast(half, channel),
                           hn::LoadU(half, a.winners.value_k + position * slots + j));
      },
      [&](int32_t i, hn::Vec<decltype(d)> v) HWY_ATTR {
        const int64_t at = to + i % 8 * planes.plane();
        if (i < 8) {
          hn::StoreU(v, d, map.value + at);
        } else {
          hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, v)), d16, map.channel + at);
        }
      });
}
#endif

/// Columns before and after the map in padded row y, all slots.
HWY_INLINE void ClearSides(const SlotPlanes& planes, int64_t row, int32_t slots, int32_t left,
                           int32_t right, const SlotMap& map) {
  for (int32_t j = 0; j < slots; ++j, row += planes.plane()) {
    std::fill_n(map.channel + row, left, uint16_t{0});
    std::fill_n(map.value + row, left, 0.0f);
    std::fill(map.channel + row + right, map.channel + row + planes.pitch, uint16_t{0});
    std::fill(map.value + row + right, map.value + row + planes.pitch, 0.0f);
  }
}

HWY_INLINE SlotMap MakeSlotMap(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const SlotPlanes planes(s);
  const int32_t slots = a.plan.per_position;
  const SlotMap map{.channel = reinterpret_cast<uint16_t*>(a.scratch + slots * planes.plane()),
                    .value = a.scratch};
  const int32_t end = (a.row_end - 1) * s.stride_h + s.extent_h();
  for (int32_t y = a.row_begin * s.stride_h; y < end; ++y) {
    const int32_t in_y = y - s.pad_h;
    const int64_t row = int64_t{y} * planes.pitch;
    if (in_y < 0 || in_y >= s.in_h) {
      ClearSides(planes, row, slots, planes.pitch, planes.pitch, map);
      continue;
    }
    int32_t done = 0;  // slots
#if HWY_MAX_BYTES >= 64
    for (; done + 8 <= slots; done += 8) {
      for (int32_t x = 0; x < s.in_w; x = s.in_w < 16 ? s.in_w : NextTile(x, 16, s.in_w)) {
        EightSlots(a, planes, in_y * s.in_w + x, done, row + s.pad_w + x + done * planes.plane(),
                   map);
      }
    }
#endif
#if HWY_TARGET != HWY_SCALAR
    for (; done + 4 <= slots && s.in_w >= 4; done += 4) {
      for (int32_t x = 0; x < s.in_w; x = NextTile(x, 4, s.in_w)) {
        FourSlots(a, planes, in_y * s.in_w + x, done, row + s.pad_w + x + done * planes.plane(),
                  map);
      }
    }
#endif
    for (int32_t x = 0; x < s.in_w; ++x) {
      const int32_t q = in_y * s.in_w + x;
      for (int32_t j = done; j < slots; ++j) {
        const int64_t to = row + s.pad_w + x + j * planes.plane();
        const int64_t from = int64_t{q} * slots + j;
        map.channel[to] = static_cast<uint16_t>(a.winners.index_k[from] - q * s.in_c);
        map.value[to] = a.winners.value_k[from];
      }
    }
    if (s.pad_w > 0) ClearSides(planes, row, slots, s.pad_w, s.pad_w + s.in_w, map);
  }
  return map;
}

/// Channels of four neighbouring columns, the first in the lowest bits.
HWY_INLINE uint64_t FourChannels(const uint16_t* channel) {
  uint64_t four;
  std::memcpy(&four, channel, sizeof(four));
  return four;
}

/// kT columns of outputs, lanes l … of block b; kKw = 3 or 5: kernel rows, 0: taps.
/// `first` is the slot map's element of (input row, input column) of the first output, slot 0.
/// kTap: floats from one tap's weights to the next tap's, 0: N·L. As a constant it spares g++ the
/// registers of its multiples.
template <class D, int kT, int kKw, int kTap>
HWY_INLINE void AlignedTile(const Args& a, const SlotMap& map, int64_t first, int32_t b, int32_t l,
                            float* output) {
  const D d;
  const ConvPackedPlanF32& plan = a.plan;
  const ConvPackedShape& s = plan.shape;
  const int64_t tap = kTap > 0 ? kTap : int64_t{s.sets} * s.lanes;
  const int64_t channel_floats = tap * s.kernel_h * s.kernel_w;
  const int32_t o = b * s.lanes + l;
  hn::Vec<D> acc[kT];
  const hn::Vec<D> bias = hn::LoadU(d, plan.bias_o + o);
  HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
  const float* HWY_RESTRICT value_q = map.value + first;
  const uint16_t* HWY_RESTRICT channel_q = map.channel + first;
  const int32_t begin = plan.begin_b[b], end = plan.begin_b[b + 1];
  if constexpr (kKw == 0) {
    for (int32_t e = begin; e < end; ++e) {
      const float* weight = plan.weight + plan.weight_e[e] + l;
      HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
        const int64_t q = plan.input_e[e] + t * s.stride_w;
        acc[t] = hn::MulAdd(hn::Set(d, value_q[q]),
                            hn::LoadU(d, weight + channel_q[q] * channel_floats), acc[t]);
      }
    }
  } else {
    // An entry's channels are loaded during the one before: an address that comes from a load just
    // issued keeps multiply-adds waiting. In narrow tiles taking them apart costs more than that.
    constexpr int kColumns = kT + kKw - 1;
    constexpr bool kAhead = kColumns > 8;
    uint64_t four[(kColumns + 3) / 4] = {};
    for (int i = 0; kAhead && i < kColumns && begin < end; i += 4) {
      four[i / 4] = FourChannels(channel_q + plan.input_e[begin] + i);
    }
    for (int32_t e = begin; e < end; ++e) {
      const float* weight = plan.weight + plan.weight_e[e] + l;
      const float* value = value_q + plan.input_e[e];
      const uint16_t* next = channel_q + plan.input_e[std::min(e + 1, end - 1)];
      // Input column i is tap kx of output column i - kx.
      HWY_UNROLL(16) for (int i = 0; i < kColumns; ++i) {
        const hn::Vec<D> x = hn::Set(d, value[i]);
        const int64_t channel = kAhead ? four[i / 4] & 0xFFFF : channel_q[plan.input_e[e] + i];
        const float* taps = weight + channel * channel_floats;
        if (!kAhead) {
        } else if (i % 4 == 3 || i == kColumns - 1) {
          four[i / 4] = FourChannels(next + i / 4 * 4);
        } else {
          four[i / 4] >>= 16;
        }
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

template <class D, int kT, int kKw, int kTap>
void AlignedRows(const Args& a, const SlotMap& map) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t width = static_cast<int32_t>(hn::Lanes(D()));
  const int32_t pitch = SlotPlanes(s).pitch;
  // Block outermost: its weights (a quarter of a layer with S = 4) stay near while the rows pass
  // by. Two rows at once were tried for 32 registers and were no faster: g++ 12 spills the second
  // row's accumulators.
  for (int32_t b = 0; b < s.blocks(); ++b) {
    for (int32_t l = 0; l < s.lanes && b * s.lanes + l < s.out_c; l += width) {
      for (int32_t oy = a.row_begin; oy < a.row_end; ++oy) {
        for (int32_t ox = 0; ox < s.out_w; ox = NextTile(ox, kT, s.out_w)) {
          const int64_t first = int64_t{oy} * s.stride_h * pitch + int64_t{ox} * s.stride_w;
          AlignedTile<D, kT, kKw, kTap>(a, map, first, b, l,
                                        a.output + (int64_t{oy} * s.out_w + ox) * a.output_stride);
        }
      }
    }
  }
}

template <class D, int kKw, int kTap>
void AlignedColumns(const Args& a, const SlotMap& map) {
  switch (ChooseTileColumns(a.plan.shape.out_w)) {
    case 10:
      return AlignedRows<D, 10, kKw, kTap>(a, map);
    case 8:
      return AlignedRows<D, 8, kKw, kTap>(a, map);
    case 5:
      return AlignedRows<D, 5, kKw, kTap>(a, map);
    case 4:
      return AlignedRows<D, 4, kKw, kTap>(a, map);
    case 2:
      return AlignedRows<D, 2, kKw, kTap>(a, map);
    default:
      return AlignedRows<D, 1, kKw, kTap>(a, map);
  }
}

template <class D>
void Aligned(const Args& a) {
  const SlotMap map = MakeSlotMap(a);
  if (a.plan.form == ConvPackedForm::kAlignedTaps) return AlignedColumns<D, 0, 0>(a, map);
  constexpr int kTap = static_cast<int>(hn::MaxLanes(D()));
  const bool one_row = a.plan.shape.sets == 1 && a.plan.shape.lanes == kTap;
  if (a.plan.shape.kernel_w == 3) {
    return one_row ? AlignedColumns<D, 3, kTap>(a, map) : AlignedColumns<D, 3, 0>(a, map);
  }
  return one_row ? AlignedColumns<D, 5, kTap>(a, map) : AlignedColumns<D, 5, 0>(a, map);
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
        const int32_t y = oy * s.stride_h - s.pad_h + ky * s.dilation_h;
        if (y < 0 || y >= s.in_h) continue;
        for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
          for (int32_t t = 0; t < columns; ++t) {
            const int32_t x = (ox + t) * s.stride_w - s.pad_w + kx * s.dilation_w;
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
