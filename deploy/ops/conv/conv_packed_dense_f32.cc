// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads every activation (sparse-dense).
//
// kLanes: a kernel block has a list of (input offset, row of L weights). Up to 10 output columns are in registers:
//   acc[t] += weight · x[column t]
// That is one load of weights, then a broadcast and a multiply-add for every column.
//
// kColumns (L = 1): the map becomes planes, one for each channel and phase of the stride, so that the inputs of
// neighbouring outputs always lie side by side:
//   output q = oy·plane_w + ox reads plane[entry] + q
// Positions past a row's end are computed and dropped. A kernel has a list of (plane offset, weight). An entry costs one
// broadcast, then a load and a multiply-add for every vector of positions. Four kernels are transposed at a time to
// channels last.
// Read first: conv_packed.h. Tested in: conv_packed_f32_test.cc.
#include <algorithm>

#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_packed_dense_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedDenseF32Args;

/// kT output columns of kernel block b, all vectors of its lanes.
template <class D, int kT>
void LanesTile(const Args& a, const float* x, int32_t b, float* output) {
  const D d;
  const ConvPackedShape& s = a.plan.shape;
  const int32_t width = static_cast<int32_t>(hn::Lanes(d));
  const int64_t step = int64_t{s.stride_w} * s.in_c;
  for (int32_t l = 0; l < s.lanes; l += width) {
    const int32_t o = b * s.lanes + l;
    if (o >= s.out_c) return;
    hn::Vec<D> acc[kT];
    const hn::Vec<D> bias = hn::LoadU(d, a.plan.bias_o + o);
    HWY_UNROLL(16) for (int t = 0; t < kT; ++t) acc[t] = bias;
    for (int32_t e = a.plan.begin_b[b]; e < a.plan.begin_b[b + 1]; ++e) {
      const hn::Vec<D> weight = hn::LoadU(d, a.plan.weight + a.plan.weight_e[e] + l);
      const float* in = x + a.plan.input_e[e];
      HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
        acc[t] = hn::MulAdd(hn::Set(d, in[t * step]), weight, acc[t]);
      }
    }
    HWY_UNROLL(16) for (int t = 0; t < kT; ++t) {
      StoreOutputs(d, acc[t], o, s.out_c, output + t * a.output_stride);
    }
  }
}

template <class D, int kT>
void LanesRows(const Args& a, const float* x) {
  const ConvPackedShape& s = a.plan.shape;
  // Block outermost: its weights stay in L1 while the rows pass by.
  for (int32_t b = 0; b < s.blocks(); ++b) {
    for (int32_t oy = a.row_begin; oy < a.row_end; ++oy) {
      for (int32_t ox = 0; ox < s.out_w; ox = NextTile(ox, kT, s.out_w)) {
        const int64_t in =
            (int64_t{oy} * s.stride_h * s.padded_w() + int64_t{ox} * s.stride_w) * s.in_c;
        LanesTile<D, kT>(a, x + in, b, a.output + (int64_t{oy} * s.out_w + ox) * a.output_stride);
      }
    }
  }
}

template <class D>
void Lanes(const Args& a) {
  const float* x = PadInput(a, a.row_begin * a.plan.shape.stride_h,
                            (a.row_end - 1) * a.plan.shape.stride_h + a.plan.shape.extent_h());
  switch (ChooseTileColumns(a.plan.shape.out_w)) {
    case 10:
      return LanesRows<D, 10>(a, x);
    case 8:
      return LanesRows<D, 8>(a, x);
    case 5:
      return LanesRows<D, 5>(a, x);
    case 4:
      return LanesRows<D, 4>(a, x);
    case 2:
      return LanesRows<D, 2>(a, x);
    default:
      return LanesRows<D, 1>(a, x);
  }
}

using DF = hn::CappedTag<float, 16>;

/// Cuts the map into planes [c, phase_y, phase_x, plane_h, plane_w], with padding, for the rows
/// that are read.
HWY_INLINE void MakePlanes(const Args& a, int32_t plane_h, int32_t plane_w, int64_t slack) {
  const ConvPackedShape& s = a.plan.shape;
  const int64_t planes = int64_t{s.in_c} * s.stride_h * s.stride_w;
  std::fill_n(a.scratch + planes * plane_h * plane_w, slack, 0.0f);
  const int32_t end = std::min((a.row_end - 1) * s.stride_h + s.extent_h(), s.padded_h());
  for (int32_t y = a.row_begin * s.stride_h; y < end; ++y) {
    const int32_t in_y = y - s.pad_h;
    for (int32_t c = 0; c < s.in_c; ++c) {
      const int64_t phase = (int64_t{c} * s.stride_h + y % s.stride_h) * s.stride_w;
      float* to = a.scratch + (phase * plane_h + y / s.stride_h) * plane_w;
      const float* from = a.input + (int64_t{in_y} * s.in_w - s.pad_w) * s.in_c + c;
      for (int32_t px = 0; px < s.stride_w; ++px, to += int64_t{plane_h} * plane_w) {
        for (int32_t i = 0, x = px; i < plane_w; ++i, x += s.stride_w) {
          const bool inside = in_y >= 0 && in_y < s.in_h && x >= s.pad_w && x < s.pad_w + s.in_w;
          to[i] = inside ? from[int64_t{x} * s.in_c] : 0.0f;
        }
      }
    }
  }
}

/// One kernel at kJ vectors of positions; x points at the first position of plane 0.
template <int kJ>
HWY_INLINE void ColumnsOfKernel(const ConvPackedPlanF32& plan, int32_t o, const float* x,
                                float* tile) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<DF> acc[kJ];
  const hn::Vec<DF> bias = hn::Set(d, plan.bias_o[o]);
  HWY_UNROLL(8) for (int j = 0; j < kJ; ++j) acc[j] = bias;
  for (int32_t e = plan.begin_b[o]; e < plan.begin_b[o + 1]; ++e) {
    const hn::Vec<DF> weight = hn::Set(d, plan.weight[e]);
    const float* in = x + plan.input_e[e];
    HWY_UNROLL(8) for (int j = 0; j < kJ; ++j) {
      acc[j] = hn::MulAdd(hn::LoadU(d, in + j * lanes), weight, acc[j]);
    }
  }
  HWY_UNROLL(8) for (int j = 0; j < kJ; ++j) hn::StoreU(acc[j], d, tile + j * lanes);
}

template <int kJ>
void Columns(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t plane_h = (s.padded_h() + s.stride_h - 1) / s.stride_h;
  const int32_t plane_w = (s.padded_w() + s.stride_w - 1) / s.stride_w;
  constexpr int32_t kMost = kJ * 16;
  const int32_t size = kJ * static_cast<int32_t>(hn::Lanes(DF()));
  MakePlanes(a, plane_h, plane_w, kMost);
  HWY_ALIGN float tile[4 * kMost];
  float* position[kMost];
  const int32_t end = (a.row_end - 1) * plane_w + s.out_w;
  for (int32_t q = a.row_begin * plane_w; q < end; q += size) {
    for (int32_t i = 0, y = q / plane_w, x = q % plane_w; i < size; ++i) {
      const bool exists = x < s.out_w && y < a.row_end;
      position[i] = exists ? a.output + (int64_t{y} * s.out_w + x) * a.output_stride : nullptr;
      if (++x == plane_w) x = 0, ++y;
    }
    for (int32_t o = 0; o < s.out_c; o += 4) {
      for (int32_t k = 0; k < 4 && o + k < s.out_c; ++k) {
        ColumnsOfKernel<kJ>(a.plan, o + k, a.scratch + q, tile + k * size);
      }
      StoreTransposed(tile, size, position, o, s.out_c);
    }
  }
}

void ConvDense(const Args& a) {
  if (a.row_begin >= a.row_end) return;
  const int32_t lanes = a.plan.shape.lanes;
  if (a.plan.form == ConvPackedForm::kColumns) {
    // Few channels: long tiles share a broadcast. Many: a tile's window of all planes should stay
    // in L1.
    return a.plan.shape.in_c <= 8 ? Columns<8>(a) : Columns<4>(a);
  }
  // The widest vector whose lanes divide L; L = 3, 5, … take one lane at a time.
  if (lanes % 16 == 0) return Lanes<hn::CappedTag<float, 16>>(a);
  if (lanes % 8 == 0) return Lanes<hn::CappedTag<float, 8>>(a);
  if (lanes % 4 == 0) return Lanes<hn::CappedTag<float, 4>>(a);
  if (lanes % 2 == 0) return Lanes<hn::CappedTag<float, 2>>(a);
  return Lanes<hn::CappedTag<float, 1>>(a);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvDense);

void ConvPackedDenseF32(const ConvPackedDenseF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvDense)(args);
}

const char* ConvPackedFormName(ConvPackedForm form) noexcept {
  switch (form) {
    case ConvPackedForm::kLanes:
      return "lanes";
    case ConvPackedForm::kColumns:
      return "columns";
    case ConvPackedForm::kPooledColumns:
      return "pooled_columns";
    case ConvPackedForm::kPooledLanes:
      return "pooled_lanes";
    case ConvPackedForm::kAlignedRows:
      return "aligned_rows";
    case ConvPackedForm::kAlignedTaps:
      return "aligned_taps";
    case ConvPackedForm::kScattered:
      break;
  }
  return "scattered";
}

int64_t ConvPackedScratchFloats(const ConvPackedPlanF32& plan) noexcept {
  const ConvPackedShape& s = plan.shape;
  const Size padded = Size(s.padded_h()) * s.padded_w();
  switch (plan.form) {
    case ConvPackedForm::kLanes:
    case ConvPackedForm::kPooledLanes:
      return s.pad_h || s.pad_w ? (padded * s.in_c).value() : 0;
    case ConvPackedForm::kColumns: {
      const Size h = Size(s.padded_h()).RoundUp(s.stride_h),
                 w = Size(s.padded_w()).RoundUp(s.stride_w);
      return (h * w * s.in_c + 8 * 16).value();
    }
    case ConvPackedForm::kPooledColumns: {
      const PooledColumns columns(s);
      return (Size(columns.floats()) + columns.row_floats()).value();
    }
    case ConvPackedForm::kAlignedRows:
    case ConvPackedForm::kAlignedTaps:
      return ((Size(SlotPlanes(s).plane()) * plan.per_position * 3).CeilDivide(2) + 1).value();
    case ConvPackedForm::kScattered:
      break;
  }
  return 4 * int64_t{s.blocks()} * s.lanes;
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
