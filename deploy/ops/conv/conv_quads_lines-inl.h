// SPDX-License-Identifier: Apache-2.0
// Where conv_quads_i8's winners have their lines: beside each other as the producer left them, or in planes of
// single slots, from which the rows that a block reads are gathered. Read first: conv_quads_i8.h.
// Included once for each target. Tested in: conv_quads_i8_test.cc.
#if defined(BISPARSE_CONV_QUADS_LINES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_CONV_QUADS_LINES_INL_H_
#undef BISPARSE_CONV_QUADS_LINES_INL_H_
#else
#define BISPARSE_CONV_QUADS_LINES_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

/// Of each padded position and quad, or of each column of gathered rows: four winners' first lines, four values (zero
/// around the map).
struct QuadMap {
  const uint16_t* line;
  const uint8_t* value;
};

/// Winners where they are, only their indices become lines.
inline bool KeepsPlaces(const ConvQuadsI8Args& a) {
  const int32_t c =
      a.conv->input.channels;  // a power of two: channels are the low bits of the indices
  return HWY_TARGET != HWY_SCALAR && a.conv->reads_in_place() && a.index_k != nullptr &&
         (c & (c - 1)) == 0;
}

/// Gathered rows, two of each entry of a block.
struct GatheredRows {
  explicit GatheredRows(const ConvQuadsI8Args& a)
      : line(reinterpret_cast<uint16_t*>(a.rows)),
        value(a.rows + int64_t{2} * a.conv->most_entries * a.conv->row_w() * 8) {}
  uint16_t* line;
  uint8_t* value;
};

HWY_INLINE QuadMap MapOf(const ConvQuadsI8Args& a) {
  if (a.conv->gathered) {
    const GatheredRows rows(a);
    return {rows.line, rows.value};
  }
  if (a.line_k != nullptr) return {a.line_k, a.value_k};
  const auto* line = reinterpret_cast<const uint16_t*>(a.scratch);
  if (KeepsPlaces(a)) return {line, a.value_k};
  return {line, a.scratch + int64_t{a.conv->padded_h()} * a.conv->padded_w() * a.conv->quads * 8};
}

/// Planes [slots + 1][padded_h][row_w] of lines and of values, the last one of zeros, as ConvQuadsI8::shared_bytes says.
struct Planes {
  explicit Planes(const ConvQuadsI8Args& a)
      : line(reinterpret_cast<uint16_t*>(a.scratch)),
        value(a.scratch + (a.conv->slots + 1) * a.conv->plane() * 2) {}
  uint16_t* line;
  uint8_t* value;
};

/// Winner k of `position` (outside of the map: the slot's channel, the value that pads) in slot j's planes at `at`.
inline void PutWinner(const ConvQuadsI8Args& a, const Planes& to, bool inside, int64_t position,
                      int32_t j, int64_t at) {
  const ConvQuadsI8& s = *a.conv;
  const int64_t k = position * s.slots + j;
  const int64_t channel = a.index_k ? a.index_k[k] - position * s.input.channels : j;
  to.line[at] = static_cast<uint16_t>(channel * s.channel_step);
  to.value[at] = inside ? a.value_k[k] : s.zero;
}

#if HWY_TARGET != HWY_SCALAR
/// 64 elements, [8][8] → [8][8] transposed: one step of a perfect shuffle moves the first bit of an index to its end.
template <int kRegisters, class D>
HWY_INLINE void Transpose8(D d, hn::Vec<D>* v) {
  hn::Vec<D> w[kRegisters];
  HWY_UNROLL(3) for (int step = 0; step < 3; ++step) {
    HWY_UNROLL(4) for (int i = 0; i < kRegisters / 2; ++i) {
      w[2 * i] = hn::InterleaveLower(d, v[i], v[i + kRegisters / 2]);
      w[2 * i + 1] = hn::InterleaveUpper(d, v[i], v[i + kRegisters / 2]);
    }
    HWY_UNROLL(8) for (int i = 0; i < kRegisters; ++i) v[i] = w[i];
  }
}

/// Winners j … j + 7 of eight positions beside each other.
HWY_INLINE void PutEights(const ConvQuadsI8Args& a, const Planes& to, int64_t position, int32_t j,
                          int64_t at) {
  const ConvQuadsI8& s = *a.conv;
  const hn::Full128<int32_t> d32;
  const hn::Full128<uint16_t> d16;
  const hn::Half<decltype(d16)> half16;
  const hn::Full128<uint8_t> d8;
  const hn::Half<decltype(d8)> half8;
  const auto step = hn::Set(d16, static_cast<uint16_t>(s.channel_step));
  hn::Vec<decltype(d16)> line[8];
  hn::Vec<decltype(d8)> value[4];
  HWY_UNROLL(8) for (int i = 0; i < 8; ++i) {
    const int32_t* index = a.index_k + (position + i) * s.slots + j;
    const auto first = hn::Set(d32, static_cast<int32_t>((position + i) * s.input.channels));
    const auto low = hn::DemoteTo(half16, hn::Sub(hn::LoadU(d32, index), first));
    const auto high = hn::DemoteTo(half16, hn::Sub(hn::LoadU(d32, index + 4), first));
    line[i] = hn::Mul(hn::Combine(d16, high, low), step);
  }
  HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
    const uint8_t* two = a.value_k + (position + 2 * i) * s.slots + j;
    value[i] = hn::Combine(d8, hn::LoadU(half8, two + s.slots), hn::LoadU(half8, two));
  }
  Transpose8<8>(d16, line);
  Transpose8<4>(d8, value);
  const int64_t plane = s.plane();
  HWY_UNROLL(8) for (int i = 0; i < 8; ++i) {
    hn::StoreU(line[i], d16, to.line + at + (j + i) * plane);
    const auto of_slot =
        i % 2 == 0 ? hn::LowerHalf(half8, value[i / 2]) : hn::UpperHalf(half8, value[i / 2]);
    hn::StoreU(of_slot, half8, to.value + at + (j + i) * plane);
  }
}
#endif

inline void FindPlanes(const ConvQuadsI8Args& a) {
  const ConvQuadsI8& s = *a.conv;
  const Planes to(a);
  const int64_t plane = s.plane();
  std::memset(a.scratch, 0, static_cast<size_t>(s.shared_bytes()));
  for (int32_t y = 0; y < s.padded_h(); ++y) {
    const int32_t in_y = y - s.window.pad_h;
    const bool row_inside = in_y >= 0 && in_y < s.input.height;
    const int64_t row = int64_t{y} * s.row_w();
    int32_t end = 0;  // of the columns that are done by eights
#if HWY_TARGET != HWY_SCALAR
    if (row_inside && a.index_k != nullptr && s.slots % 8 == 0) {
      end = s.input.width / 8 * 8;
      for (int32_t x = 0; x < end; x += 8) {
        for (int32_t j = 0; j < s.slots; j += 8) {
          PutEights(a, to, int64_t{in_y} * s.input.width + x, j, row + s.window.pad_w + x);
        }
      }
    }
#endif
    const auto put = [&](int32_t first, int32_t last, bool inside) {
      for (int32_t x = first; x < last; ++x) {
        const int64_t position = inside ? int64_t{in_y} * s.input.width + x - s.window.pad_w : 0;
        for (int32_t j = 0; j < s.slots; ++j) {
          PutWinner(a, to, inside, position, j, row + x + j * plane);
        }
      }
    };
    const int32_t left = s.window.pad_w, right = left + s.input.width;
    if (row_inside) put(left + end, right, true);
    if (s.zero == 0) continue;
    put(0, row_inside ? left : s.padded_w(), false);
    if (row_inside) put(right, s.padded_w(), false);
  }
}

/// Rows of lines and values of block b's entries for output row oy, `row` 0 or 1 of those that are kept.
inline void GatherRows(const ConvQuadsI8Args& a, int32_t b, int32_t oy, int32_t row) {
  const ConvQuadsI8& s = *a.conv;
  const Planes from(a);
  const GatheredRows to(a);
  const int64_t first = int64_t{row} * s.most_entries * s.row_w(), shift = int64_t{oy} * s.row_w();
  for (int32_t e = s.begin_b[b]; e < s.begin_b[b + 1]; ++e) {
    uint16_t* line = to.line + (first + s.quad_e[e]) * 4;
    uint8_t* value = to.value + (first + s.quad_e[e]) * 4;
    const uint16_t* line_j[4];
    const uint8_t* value_j[4];
    for (int j = 0; j < 4; ++j) {
      line_j[j] = from.line + s.plane_ej[4 * e + j] + shift;
      value_j[j] = from.value + s.plane_ej[4 * e + j] + shift;
    }
#if HWY_TARGET == HWY_SCALAR
    for (int32_t x = 0; x < s.row_w(); ++x) {
      for (int j = 0; j < 4; ++j) {
        line[4 * x + j] = static_cast<uint16_t>(line_j[j][x] + s.row_ej[4 * e + j]);
        value[4 * x + j] = value_j[j][x];
      }
    }
#else
    const hn::Full128<uint16_t> d16;
    const hn::Full128<uint8_t> d8;
    for (int32_t x = 0; x < s.row_w(); x += 8) {
      hn::Vec<decltype(d16)> v[4];
      HWY_UNROLL(4) for (int j = 0; j < 4; ++j) {
        const auto ky = hn::Set(d16, static_cast<uint16_t>(s.row_ej[4 * e + j]));
        v[j] = hn::Add(hn::LoadU(d16, line_j[j] + x), ky);
      }
      hn::StoreInterleaved4(v[0], v[1], v[2], v[3], d16, line + 4 * x);
    }
    for (int32_t x = 0; x < s.row_w(); x += 16) {
      const auto at = [&](int j) HWY_ATTR { return hn::LoadU(d8, value_j[j] + x); };
      hn::StoreInterleaved4(at(0), at(1), at(2), at(3), d8, value + 4 * x);
    }
#endif
  }
}

inline void FindLines(const ConvQuadsI8Args& a) {
  if (a.line_k != nullptr) return;
  if (a.conv->gathered) return FindPlanes(a);
  const ConvQuadsI8& s = *a.conv;
  const int32_t c = s.input.channels, slots = s.slots, padded_slots = s.quads * 4;
  const int64_t positions = int64_t{s.padded_h()} * s.padded_w();
  uint8_t* value = a.scratch + positions * padded_slots * 2;
  uint16_t* line = reinterpret_cast<uint16_t*>(a.scratch);
#if HWY_TARGET != HWY_SCALAR
  if (KeepsPlaces(a)) {
    const DI32 d;
    const hn::Rebind<uint16_t, DI32> d16;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = positions * slots;
    const VI32 mask = hn::Set(d, c - 1), step = hn::Set(d, s.channel_step);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      const VI32 channel = hn::And(hn::LoadU(d, a.index_k + i), mask);
      hn::StoreU(hn::DemoteTo(d16, hn::Mul(channel, step)), d16, line + i);
    }
    for (; i < count; ++i)
      line[i] = static_cast<uint16_t>((a.index_k[i] & (c - 1)) * s.channel_step);
    return;
  }
#endif
  for (int32_t y = 0; y < s.padded_h(); ++y) {
    for (int32_t x = 0; x < s.padded_w(); ++x, line += padded_slots, value += padded_slots) {
      const int32_t in_y = y - s.window.pad_h, in_x = x - s.window.pad_w;
      const bool inside = in_y >= 0 && in_y < s.input.height && in_x >= 0 && in_x < s.input.width;
      const int32_t position = in_y * s.input.width + in_x, used = inside || s.zero ? slots : 0;
      for (int32_t j = 0; j < used; ++j) {
        const int32_t channel =
            a.index_k ? a.index_k[int64_t{position} * slots + j] - position * c : j;
        line[j] = static_cast<uint16_t>(channel * s.channel_step);
      }
      if (inside) {
        std::memcpy(value, a.value_k + int64_t{position} * slots, static_cast<size_t>(slots));
      } else {
        std::fill_n(value, used, s.zero);
      }
      std::fill(line + used, line + padded_slots, uint16_t{0});
      std::fill(value + used, value + padded_slots, uint8_t{0});
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_CONV_QUADS_LINES_INL_H_
