// SPDX-License-Identifier: Apache-2.0
// The register tile beneath conv_dense_f32 and linear_dense_f32:
//   y[j][o] = init[j][o] + Σ_p x_j[offset(p)] · weight_po[p][o]   for j < kColumns, o in kVectors vectors
// Accumulators stay in registers over a block of positions: 6 columns × 4 vectors are 24 of the 32
// registers of AVX-512 and NEON, 6 × 2 are 12 of the 16 of AVX2 and SSE4. Every output is summed
// over ascending p with one multiply-add a position, whatever the tile: the same bits however the
// work is split. Included once for each SIMD target. Read first: deploy/ops/conv/conv_dense_f32.h.
// Tested in: deploy/ops/conv/conv_dense_f32_test.cc, deploy/ops/linear/linear_dense_f32_test.cc.
#if defined(BISPARSE_DEPLOY_OPS_SHARED_DENSE_TILE_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_DEPLOY_OPS_SHARED_DENSE_TILE_F32_INL_H_
#undef BISPARSE_DEPLOY_OPS_SHARED_DENSE_TILE_F32_INL_H_
#else
#define BISPARSE_DEPLOY_OPS_SHARED_DENSE_TILE_F32_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes: the packed order pads outputs to 16.
using DenseTag = hn::CappedTag<float, 16>;
constexpr int kTileColumns = 6;
constexpr int kTileVectors = (HWY_MAX_BYTES >= 64 || HWY_ARCH_ARM_A64) ? 4 : 2;
// Rows of weights that a pass keeps: 64 · kTileVectors registers are 16 KB at most, half of an L1.
constexpr int64_t kBlockPositions = 64;

struct IdentityOffset {
  int64_t operator()(int64_t p) const { return p; }
};
struct TableOffset {
  const int32_t* offset_p;
  int64_t operator()(int64_t p) const { return offset_p[p]; }
};

/// What the tiles of one pass share: positions [p_begin, p_end) of the outputs from o_begin on.
struct DensePass {
  const float* weight_po;  // row 0
  int64_t pitch;           // floats of a row
  const float* bias_o;     // outputs padded to 16
  int64_t outputs;
  int64_t p_begin, p_end;
  bool first, last;  // first: y is initialised by the bias; last: relu may be applied
  bool relu;
};

template <int kColumns, int kVectors, class Offset>
HWY_ATTR void DenseTile(const DensePass& pass, Offset offset, const float* const* x_j, int64_t o,
                        float* const* y_j) {
  const DenseTag d;
  using V = hn::Vec<DenseTag>;
  const size_t lanes = hn::Lanes(d);
  const int64_t width = static_cast<int64_t>(lanes) * kVectors;
  // Where the tile hangs over the last output, its columns pass through memory of their own.
  const bool whole = o + width <= pass.outputs;
  const size_t valid_bytes = static_cast<size_t>(whole ? width : pass.outputs - o) * sizeof(float);
  HWY_ALIGN float edge[kColumns][kVectors * hn::MaxLanes(DenseTag())];
  V sum[kColumns][kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kColumns; ++j) {
    const float* from = pass.first ? pass.bias_o + o : y_j[j] + o;
    if (!whole && !pass.first) {
      std::memset(edge[j], 0, sizeof(edge[j]));
      std::memcpy(edge[j], from, valid_bytes);
      from = edge[j];
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[j][v] = hn::LoadU(d, from + v * lanes);
  }
  const float* x[kColumns];
#pragma GCC unroll 8
  for (int j = 0; j < kColumns; ++j) x[j] = x_j[j];
  const float* weight = pass.weight_po + pass.p_begin * pass.pitch + o;
  for (int64_t p = pass.p_begin; p < pass.p_end; ++p, weight += pass.pitch) {
    const int64_t at = offset(p);
    V w[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(d, weight + v * lanes);
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      const V a = hn::Set(d, x[j][at]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[j][v] = hn::MulAdd(a, w[v], sum[j][v]);
    }
  }
  if (pass.last && pass.relu) {
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[j][v] = hn::Max(sum[j][v], hn::Zero(d));
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kColumns; ++j) {
    float* to = whole ? y_j[j] + o : edge[j];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[j][v], d, to + v * lanes);
    if (!whole) std::memcpy(y_j[j] + o, edge[j], valid_bytes);
  }
}

/// count: 1 … kTileColumns.
template <int kVectors, class Offset>
HWY_ATTR void DenseColumns(const DensePass& pass, Offset offset, const float* const* x_j,
                           int64_t count, int64_t o, float* const* y_j) {
  switch (count) {
    case 6:
      return DenseTile<6, kVectors>(pass, offset, x_j, o, y_j);
    case 5:
      return DenseTile<5, kVectors>(pass, offset, x_j, o, y_j);
    case 4:
      return DenseTile<4, kVectors>(pass, offset, x_j, o, y_j);
    case 3:
      return DenseTile<3, kVectors>(pass, offset, x_j, o, y_j);
    case 2:
      return DenseTile<2, kVectors>(pass, offset, x_j, o, y_j);
    default:
      return DenseTile<1, kVectors>(pass, offset, x_j, o, y_j);
  }
}

/// Columns x_j[0 … count) and all outputs, for one pass.
template <class Offset>
HWY_ATTR void DenseBlock(const DensePass& pass, Offset offset, const float* const* x_j,
                         int64_t count, float* const* y_j) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DenseTag()));
  const int64_t vectors = (pass.outputs + lanes - 1) / lanes;
  for (int64_t v = 0; v < vectors; v += kTileVectors) {
    const int64_t o = v * lanes;
    const int64_t width = vectors - v;
    for (int64_t j = 0; j < count; j += kTileColumns) {
      const int64_t columns = count - j < kTileColumns ? count - j : kTileColumns;
      if (width >= kTileVectors) {
        DenseColumns<kTileVectors>(pass, offset, x_j + j, columns, o, y_j + j);
      } else if (width == 1) {
        DenseColumns<1>(pass, offset, x_j + j, columns, o, y_j + j);
      } else if constexpr (kTileVectors == 4) {
        if (width == 2) {
          DenseColumns<2>(pass, offset, x_j + j, columns, o, y_j + j);
        } else {
          DenseColumns<3>(pass, offset, x_j + j, columns, o, y_j + j);
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
