// SPDX-License-Identifier: Apache-2.0
// Packed convolution that reads every activation, with the 2×2 max-pool behind it in the same pass:
//
//   y[py, px, o] = max over dy, dx in {0, 1} of conv[2·py + dy, 2·px + dx, o]
//
// Neighbouring pooled columns px are a vector, so any owners and any L cost the same: one broadcast
// weight and four multiply-adds, one for each place of the pool's window, in registers; the map
// before the pool (200 KB for the speech network's conv1) never exists.
//   scratch[c][y][j][px] = input[y - pad_h][2·px·stride_w + j - pad_w][c],  j < kernel_w + stride_w
// holds every shifted row at a cache line, so that no load crosses one. It must fit into L1: few
// input channels (PrepareConvPackedPooledF32 refuses otherwise).
// Entries begin_b[o] … begin_b[o + 1) are kernel o's; most lists are padded to the same length with
// weights of zero: a loop that ends where none was expected to costs more than a few products.
// Bound: 8 + 1 loads for 8 multiply-adds: 4.5 cycles for 128 multiplications of AVX-512.
// Read first: conv_packed.h. Tested in: conv_packed_pooled_f32_test.cc.
#include <algorithm>

#include "deploy/kernels/conv_packed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/kernels/conv_packed_pooled_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/kernels/conv_packed_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

using Args = ConvPackedDenseF32Args;
using D = hn::CappedTag<float, 16>;

/// Fills the shifted rows that the pooled rows row_begin … row_end read.
HWY_INLINE void ShiftRows(const Args& a) {
  const ConvPackedShape& s = a.plan.shape;
  const PooledColumns columns(s);
  const int32_t begin = a.row_begin * 2 * s.stride_h;
  const int32_t end = (a.row_end * 2 - 1) * s.stride_h + s.kernel_h;
  for (int32_t c = 0; c < s.in_c; ++c) {
    for (int32_t y = begin; y < end; ++y) {
      float* to = a.scratch + (int64_t{c} * s.padded_h() + y) * columns.row();
      const int32_t in_y = y - s.pad_h;
      if (in_y < 0 || in_y >= s.in_h) {
        std::fill_n(to, columns.row(), 0.0f);
        continue;
      }
      const float* from = a.input + int64_t{in_y} * s.in_w * s.in_c + c;
      for (int32_t j = 0; j < columns.shifts; ++j, to += columns.pitch) {
        int32_t px = 0, x = j - s.pad_w;
        for (; x < 0 && px < columns.pitch; ++px, x += 2 * s.stride_w) to[px] = 0.0f;
        for (; x < s.in_w && px < columns.pitch; ++px, x += 2 * s.stride_w)
          to[px] = from[int64_t{x} * s.in_c];
        for (; px < columns.pitch; ++px) to[px] = 0.0f;
      }
    }
  }
}

/// One channel at stride 1: even and odd columns are taken apart a vector at a time.
HWY_INLINE void ShiftRowsOfOneChannel(const Args& a) {
  const D d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  const ConvPackedShape& s = a.plan.shape;
  const PooledColumns columns(s);
  const int32_t begin = a.row_begin * 2, end = a.row_end * 2 - 1 + s.kernel_h;
  const int64_t half = columns.phase_floats();
  float* padded = a.scratch + columns.floats();  // one row between zeros
  float* phase = padded + 2 * half;              // its even columns, then its odd ones
  std::fill_n(padded, 2 * half, 0.0f);
  for (int32_t y = begin; y < end; ++y) {
    float* to = a.scratch + y * columns.row();
    const int32_t in_y = y - s.pad_h;
    if (in_y < 0 || in_y >= s.in_h) {
      std::fill_n(to, columns.row(), 0.0f);
      continue;
    }
    std::copy_n(a.input + int64_t{in_y} * s.in_w, s.in_w, padded + s.pad_w);
    for (int64_t i = 0; i < half; i += lanes) {
      hn::Vec<D> even, odd;
      hn::LoadInterleaved2(d, padded + 2 * i, even, odd);
      hn::StoreU(even, d, phase + i);
      hn::StoreU(odd, d, phase + half + i);
    }
    for (int32_t j = 0; j < columns.shifts; ++j, to += columns.pitch) {
      const float* from = phase + (j % 2) * half + j / 2;
      for (int32_t px = 0; px < columns.pitch; px += lanes) {
        hn::StoreU(hn::LoadU(d, from + px), d, to + px);
      }
    }
  }
}

/// Kernel o at one vector of pooled columns, kRows pooled rows from x on; tile[row] is tile_floats
/// behind tile[row - 1]. Two rows share a broadcast and keep eight chains of additions going.
template <int kRows>
HWY_INLINE void PooledKernel(const ConvPackedPlanF32& plan, int32_t o, const float* x,
                             int64_t right, int64_t down, float* tile, int32_t tile_floats) {
  const D d;
  hn::Vec<D> y[kRows][4];
  HWY_UNROLL(2) for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4) for (int i = 0; i < 4; ++i) y[r][i] = hn::Set(d, plan.bias_o[o]);
  }
  for (int32_t e = plan.begin_b[o]; e < plan.begin_b[o + 1]; ++e) {
    const hn::Vec<D> w = hn::Set(d, plan.weight[e]);
    const float* in = x + plan.input_e[e];
    HWY_UNROLL(2) for (int r = 0; r < kRows; ++r, in += 2 * down) {
      y[r][0] = hn::MulAdd(hn::LoadU(d, in), w, y[r][0]);
      y[r][1] = hn::MulAdd(hn::LoadU(d, in + right), w, y[r][1]);
      y[r][2] = hn::MulAdd(hn::LoadU(d, in + down), w, y[r][2]);
      y[r][3] = hn::MulAdd(hn::LoadU(d, in + down + right), w, y[r][3]);
    }
  }
  HWY_UNROLL(2) for (int r = 0; r < kRows; ++r) {
    // In the order of max_pool_f32, so that the same one of equal values stays.
    hn::Store(hn::Max(hn::Max(hn::Max(y[r][0], y[r][1]), y[r][2]), y[r][3]), d,
              tile + r * tile_floats);
  }
}

/// Pooled rows py … py + kRows - 1, one vector of columns from px on.
template <int kRows>
HWY_INLINE void PooledTile(const Args& a, const PooledColumns& columns, int32_t py, int32_t px) {
  const ConvPackedShape& s = a.plan.shape;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(D()));
  const int64_t right = int64_t{s.stride_w} * columns.pitch, down = s.stride_h * columns.row();
  constexpr int32_t kTileFloats = 16 * 16;
  HWY_ALIGN float tile[kRows * kTileFloats];
  const float* x = a.scratch + py * 2 * down + px;
  const int32_t count = std::min(lanes, columns.width - px);
  for (int32_t o = 0; o < s.out_c; o += 16) {
    const int32_t kernels = std::min(16, s.out_c - o);
    for (int32_t k = 0; k < kernels; ++k) {
      PooledKernel<kRows>(a.plan, o + k, x, right, down, tile + k * lanes, kTileFloats);
    }
    HWY_UNROLL(2) for (int r = 0; r < kRows; ++r) {
      float* y = a.output + (int64_t{py + r} * columns.width + px) * a.output_stride;
      const float* from = tile + r * kTileFloats;
#if HWY_MAX_BYTES >= 64
      if (kernels == 16) {
        StoreSixteenTransposed(from, count, y + o, a.output_stride);
        continue;
      }
#endif
      float* position[16];
      for (int32_t i = 0; i < lanes; ++i)
        position[i] = i < count ? y + i * a.output_stride : nullptr;
      for (int32_t k = 0; k < kernels; k += 4) {
        StoreTransposed(from + k * lanes, lanes, position, o + k, s.out_c);
      }
    }
  }
}

void ConvPooled(const Args& a) {
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(D()));
  const ConvPackedShape& s = a.plan.shape;
  const PooledColumns columns(s);
  if (a.row_begin >= a.row_end) return;
  if (s.in_c == 1 && s.stride_w == 1 && s.stride_h == 1) {
    ShiftRowsOfOneChannel(a);
  } else {
    ShiftRows(a);
  }
  for (int32_t px = 0; px < columns.width; px += lanes) {
    int32_t py = a.row_begin;
    for (; py + 2 <= a.row_end; py += 2) PooledTile<2>(a, columns, py, px);
    if (py < a.row_end) PooledTile<1>(a, columns, py, px);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvPooled);

void ConvPackedPooledF32(const ConvPackedDenseF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvPooled)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
