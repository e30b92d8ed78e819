// SPDX-License-Identifier: Apache-2.0
// Dense linear layer on every SIMD target. Read first: linear_dense_f32.h.
// Tested in: linear_dense_f32_test.cc.
#include "deploy/ops/linear/linear_dense_f32.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/linear/linear_dense_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

#include "deploy/ops/shared/dense_tile_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

// Rows that one pass over the sums streams: as many as prefetchers follow; a load and a store of
// the sums then cost an eighth of the weights' loads each.
constexpr int64_t kStreamRows = 8;

/// The rows of a sample's inputs, all of them or the winners' only.
struct AllRows {
  const float* x_p;
  int64_t Row(int64_t i) const { return i; }
  float Value(int64_t i) const { return x_p[i]; }
};
struct WinnerRows {
  const int32_t* index_w;
  const float* value_w;
  int64_t Row(int64_t i) const { return index_w[i]; }
  float Value(int64_t i) const { return value_w[i]; }
};

/// y = from + Σ over kRows rows; y and from hold `outputs` floats, from may be y.
template <int kRows, class Rows>
HWY_ATTR void StreamRows(const LinearDenseShape& shape, Rows rows, int64_t first,
                         const float* weight_po, const float* from, bool relu, float* y_o) {
  const DenseTag d;
  using V = hn::Vec<DenseTag>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* weight[kRows];
  V x[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    weight[r] = weight_po + rows.Row(first + r) * shape.pitch();
    x[r] = hn::Set(d, rows.Value(first + r));
  }
  int64_t o = 0;
  for (; o + lanes <= shape.outputs; o += lanes) {
    V sum = hn::LoadU(d, from + o);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sum = hn::MulAdd(x[r], hn::LoadU(d, weight[r] + o), sum);
    if (relu) sum = hn::Max(sum, hn::Zero(d));
    hn::StoreU(sum, d, y_o + o);
  }
  if (o == shape.outputs) return;
  // The last vector passes through memory of its own; the weights' rows are padded.
  HWY_ALIGN float edge[hn::MaxLanes(DenseTag())] = {};
  const size_t rest_bytes = static_cast<size_t>(shape.outputs - o) * sizeof(float);
  std::memcpy(edge, from + o, rest_bytes);
  V sum = hn::Load(d, edge);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sum = hn::MulAdd(x[r], hn::LoadU(d, weight[r] + o), sum);
  if (relu) sum = hn::Max(sum, hn::Zero(d));
  hn::Store(sum, d, edge);
  std::memcpy(y_o + o, edge, rest_bytes);
}

/// Up to one vector of outputs: the sum stays in a register over all rows.
template <class Rows>
HWY_ATTR void NarrowRows(const LinearDenseShape& shape, Rows rows, int64_t count,
                         const float* weight_po, const float* bias_o, bool relu, float* y_o) {
  const DenseTag d;
  const int64_t pitch = shape.pitch();
  hn::Vec<DenseTag> sum = hn::LoadU(d, bias_o);
  for (int64_t i = 0; i < count; ++i) {
    const float* weight = weight_po + rows.Row(i) * pitch;
    sum = hn::MulAdd(hn::Set(d, rows.Value(i)), hn::LoadU(d, weight), sum);
  }
  if (relu) sum = hn::Max(sum, hn::Zero(d));
  HWY_ALIGN float edge[hn::MaxLanes(DenseTag())];
  hn::Store(sum, d, edge);
  std::memcpy(y_o, edge, static_cast<size_t>(shape.outputs) * sizeof(float));
}

template <class Rows>
HWY_ATTR void OneSample(const LinearDenseShape& shape, Rows rows, int64_t count,
                        const float* weight_po, const float* bias_o, bool relu, float* y_o) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DenseTag()));
  if (shape.outputs <= lanes) {
    return NarrowRows(shape, rows, count, weight_po, bias_o, relu, y_o);
  }
  if (count == 0) {
    for (int64_t o = 0; o < shape.outputs; ++o) {
      y_o[o] = relu && bias_o[o] < 0 ? 0.0f : bias_o[o];
    }
    return;
  }
  const float* from = bias_o;
  int64_t i = 0;
  for (; i + kStreamRows <= count; i += kStreamRows, from = y_o) {
    const bool last = i + kStreamRows == count;
    StreamRows<kStreamRows>(shape, rows, i, weight_po, from, relu && last, y_o);
  }
  for (; i < count; ++i, from = y_o) {
    StreamRows<1>(shape, rows, i, weight_po, from, relu && i + 1 == count, y_o);
  }
}

// Samples that share a block of weights: 16 full tiles.
constexpr int64_t kBlockSamples = 16 * kTileColumns;

void LinearDenseF32(const LinearDenseShape& shape, const float* x_bp, int64_t batch,
                    const float* weight_po, const float* bias_o, bool relu, float* y_bo) {
  if (batch == 1) {
    return OneSample(shape, AllRows{x_bp}, shape.inputs, weight_po, bias_o, relu, y_bo);
  }
  const float* x_j[kBlockSamples];
  float* y_j[kBlockSamples];
  for (int64_t block = 0; block < batch; block += kBlockSamples) {
    const int64_t count = std::min(kBlockSamples, batch - block);
    for (int64_t j = 0; j < count; ++j) {
      x_j[j] = x_bp + (block + j) * shape.inputs;
      y_j[j] = y_bo + (block + j) * shape.outputs;
    }
    for (int64_t p = 0; p < shape.inputs; p += kBlockPositions) {
      const int64_t p_end = std::min(p + kBlockPositions, shape.inputs);
      const DensePass pass{.weight_po = weight_po,
                           .pitch = shape.pitch(),
                           .bias_o = bias_o,
                           .outputs = shape.outputs,
                           .p_begin = p,
                           .p_end = p_end,
                           .first = p == 0,
                           .last = p_end == shape.inputs,
                           .relu = relu};
      DenseBlock(pass, IdentityOffset(), x_j, count, y_j);
    }
  }
}

void LinearWinnersF32(const LinearDenseShape& shape, const int32_t* index_w, const float* value_w,
                      int64_t count, const float* weight_po, const float* bias_o, bool relu,
                      float* y_o) {
  OneSample(shape, WinnerRows{index_w, value_w}, count, weight_po, bias_o, relu, y_o);
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(LinearDenseF32);
HWY_EXPORT(LinearWinnersF32);

void LinearDenseF32(const LinearDenseShape& shape, const float* x_bp, int64_t batch,
                    const float* weight_po, const float* bias_o, bool relu, float* y_bo) noexcept {
  HWY_DYNAMIC_DISPATCH(LinearDenseF32)(shape, x_bp, batch, weight_po, bias_o, relu, y_bo);
}

void LinearWinnersF32(const LinearDenseShape& shape, const int32_t* index_w, const float* value_w,
                      int64_t count, const float* weight_po, const float* bias_o, bool relu,
                      float* y_o) noexcept {
  HWY_DYNAMIC_DISPATCH(LinearWinnersF32)
  (shape, index_w, value_w, count, weight_po, bias_o, relu, y_o);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
