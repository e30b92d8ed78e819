// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads every activation, with the 2×2 max-pool after it, for L = 16: 16 kernels
// are a vector, and the four sums of a pooled position stay in registers until the largest is stored.
//
//   y[py, px, o] = max over dy, dx in {0, 1} of conv[2·py + dy, 2·px + dx, o]
//
// For each entry (input offset, row of 16 weights) of a block: one load of weights, then a broadcast
// and a multiply-add for each of the four places of seven pooled columns (three where there are 16 registers).
// Bound: 31 loads for 28 multiply-adds: 15.5 cycles for 448 multiplications of AVX-512.
// Read first: conv_packed.h. Tested in: conv_packed_pooled_f32_test.cc.
#include <algorithm>

#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_packed_pooled_lanes_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedDenseF32Args;
using D = hn::CappedTag<float, 16>;
// Four registers of sums a column; lists and loops cost less the more columns share them.
constexpr int kMostColumns = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL ? 7 : 3;

/// kT pooled columns of lanes l … of block b; x: the first one's window.
template <int kT>
HWY_INLINE void PooledLanesTile(const ConvPackedPlanF32& plan, const float* x, int32_t b, int32_t l,
                                float* y, int64_t output_stride) {
  const D d;
  const ConvPackedShape& s = plan.shape;
  const int32_t o = b * s.lanes + l;
  const int64_t right = int64_t{s.stride_w} * s.in_c;
  const int64_t down = int64_t{s.stride_h} * s.padded_w() * s.in_c;
  hn::Vec<D> acc[kT][4];
  const hn::Vec<D> bias = hn::LoadU(d, plan.bias_o + o);
  HWY_UNROLL(7) for (int t = 0; t < kT; ++t) {
    HWY_UNROLL(4) for (int i = 0; i < 4; ++i) acc[t][i] = bias;
  }
  const float* weights = plan.weight + l;
  for (int32_t e = plan.begin_b[b], end = plan.begin_b[b + 1]; e < end; ++e) {
    const hn::Vec<D> weight = hn::LoadU(d, weights + plan.weight_e[e]);
    const float* in = x + plan.input_e[e];
    HWY_UNROLL(7) for (int t = 0; t < kT; ++t, in += 2 * right) {
      acc[t][0] = hn::MulAdd(hn::Set(d, in[0]), weight, acc[t][0]);
      acc[t][1] = hn::MulAdd(hn::Set(d, in[right]), weight, acc[t][1]);
      acc[t][2] = hn::MulAdd(hn::Set(d, in[down]), weight, acc[t][2]);
      acc[t][3] = hn::MulAdd(hn::Set(d, in[down + right]), weight, acc[t][3]);
    }
  }
  HWY_UNROLL(7) for (int t = 0; t < kT; ++t) {
    // In the order of max_pool_f32, so that the same one of equal values stays.
    const auto largest = hn::Max(hn::Max(hn::Max(acc[t][0], acc[t][1]), acc[t][2]), acc[t][3]);
    StoreOutputs(d, largest, o, s.out_c, y + t * output_stride);
  }
}

/// Tiles of kT columns as long as they fit; returns the column after them.
template <int kT>
HWY_INLINE int32_t Tiles(const Args& a, const float* row, int32_t px, int32_t b, int32_t l,
                         float* y) {
  const ConvPackedShape& s = a.plan.shape;
  const int64_t step = 2 * int64_t{s.stride_w} * s.in_c;
  for (; px + kT <= s.out_w / 2; px += kT) {
    PooledLanesTile<kT>(a.plan, row + px * step, b, l, y + px * a.output_stride, a.output_stride);
  }
  return px;
}

void PooledLanes(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  if (a.row_begin >= a.row_end) return;
  const float* x =
      PadInput(a, 2 * a.row_begin * s.stride_h, (2 * a.row_end - 1) * s.stride_h + s.extent_h());
  const int32_t width = s.out_w / 2, lanes = static_cast<int32_t>(hn::Lanes(D()));
  // Block outermost: its weights stay in L1 while the rows pass by.
  for (int32_t o = 0; o < s.out_c; o += lanes) {
    const int32_t b = o / s.lanes, l = o % s.lanes;
    for (int32_t py = a.row_begin; py < a.row_end; ++py) {
      const float* row = x + 2 * int64_t{py} * s.stride_h * s.padded_w() * s.in_c;
      float* y = a.output + int64_t{py} * width * a.output_stride;
      int32_t px = 0;
      px = Tiles<kMostColumns>(a, row, px, b, l, y);
      px = Tiles<2>(a, row, px, b, l, y);
      Tiles<1>(a, row, px, b, l, y);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(PooledLanes);

void ConvPackedPooledLanesF32(const ConvPackedDenseF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(PooledLanes)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
