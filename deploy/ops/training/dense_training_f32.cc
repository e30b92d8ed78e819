// SPDX-License-Identifier: Apache-2.0
// Read first: dense_training_f32.h. Tested in: training_f32_test.cc.
#include "deploy/ops/training/dense_training_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/training/dense_training_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Args = DenseTrainingF32Args;

/// kColumns outputs of block b from (row, column) on, one vector of its lanes.
template <class D, int kColumns>
HWY_INLINE void ForwardTile(const Args& a, const float* weight, const float* bias, int32_t b,
                            int32_t l, const float* x, float* y) {
  const D d;
  hn::Vec<D> sum[kColumns];
  const hn::Vec<D> first = hn::LoadU(d, bias + int64_t{b} * a.lanes + l);
  HWY_UNROLL(8) for (int t = 0; t < kColumns; ++t) sum[t] = first;
  for (int32_t e = a.begin_b[b]; e < a.begin_b[b + 1]; ++e) {
    const hn::Vec<D> w = hn::LoadU(d, weight + a.weight_e[e] + l);
    const float* in = x + a.input_e[e];
    HWY_UNROLL(8) for (int t = 0; t < kColumns; ++t) {
      sum[t] = hn::MulAdd(hn::Set(d, in[t * a.x_column]), w, sum[t]);
    }
  }
  HWY_UNROLL(8) for (int t = 0; t < kColumns; ++t) {
    hn::StoreU(sum[t], d, y + t * a.y_column + int64_t{b} * a.lanes + l);
  }
}

template <class D>
void Forward(const Args& a, const float* weight, const float* bias, float* y) {
  const int32_t width = static_cast<int32_t>(hn::Lanes(D()));
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* const x_row = a.x + i * a.x_row;
    float* const y_row = y + i * a.y_row;
    for (int32_t b = a.block_begin; b < a.block_end; ++b) {
      for (int32_t l = 0; l < a.lanes; l += width) {
        int64_t j = 0;
        for (; j + 8 <= a.columns; j += 8) {
          ForwardTile<D, 8>(a, weight, bias, b, l, x_row + j * a.x_column, y_row + j * a.y_column);
        }
        for (; j + 4 <= a.columns; j += 4) {
          ForwardTile<D, 4>(a, weight, bias, b, l, x_row + j * a.x_column, y_row + j * a.y_column);
        }
        for (; j < a.columns; ++j) {
          ForwardTile<D, 1>(a, weight, bias, b, l, x_row + j * a.x_column, y_row + j * a.y_column);
        }
      }
    }
  }
}

/// Of kEntries entries from e on, one vector of the block's lanes; dy points at the block's lanes.
template <class D, int kEntries>
HWY_INLINE void GradientTile(const Args& a, int32_t e, int32_t l, const float* dy, float* dweight) {
  const D d;
  hn::Vec<D> sum[kEntries];
  const float* in[kEntries];
  HWY_UNROLL(8) for (int t = 0; t < kEntries; ++t) {
    sum[t] = hn::Zero(d);
    in[t] = a.x + a.input_e[e + t];
  }
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* g = dy + i * a.y_row;
    int64_t at = i * a.x_row;
    for (int64_t j = 0; j < a.columns; ++j, g += a.y_column, at += a.x_column) {
      const hn::Vec<D> gradient = hn::LoadU(d, g);
      HWY_UNROLL(8) for (int t = 0; t < kEntries; ++t) {
        sum[t] = hn::MulAdd(hn::Set(d, in[t][at]), gradient, sum[t]);
      }
    }
  }
  HWY_UNROLL(8) for (int t = 0; t < kEntries; ++t) {
    float* const to = dweight + a.weight_e[e + t] + l;
    hn::StoreU(hn::Add(hn::LoadU(d, to), sum[t]), d, to);
  }
}

template <class D>
HWY_INLINE void BiasGradient(const Args& a, const float* dy, float* dbias) {
  const D d;
  hn::Vec<D> sum = hn::Zero(d);
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* g = dy + i * a.y_row;
    for (int64_t j = 0; j < a.columns; ++j, g += a.y_column) sum = hn::Add(sum, hn::LoadU(d, g));
  }
  hn::StoreU(hn::Add(hn::LoadU(d, dbias), sum), d, dbias);
}

template <class D>
void WeightGradient(const Args& a, const float* dy, float* dweight, float* dbias) {
  const int32_t width = static_cast<int32_t>(hn::Lanes(D()));
  for (int32_t b = a.block_begin; b < a.block_end; ++b) {
    for (int32_t l = 0; l < a.lanes; l += width) {
      const int64_t o = int64_t{b} * a.lanes + l;
      if (dbias != nullptr) BiasGradient<D>(a, dy + o, dbias + o);
      int32_t e = a.begin_b[b];
      const int32_t end = a.begin_b[b + 1];
      for (; e + 8 <= end; e += 8) GradientTile<D, 8>(a, e, l, dy + o, dweight);
      // What is left in one pass: each costs a walk over the grid.
      switch (end - e) {
        case 7:
          GradientTile<D, 7>(a, e, l, dy + o, dweight);
          break;
        case 6:
          GradientTile<D, 6>(a, e, l, dy + o, dweight);
          break;
        case 5:
          GradientTile<D, 5>(a, e, l, dy + o, dweight);
          break;
        case 4:
          GradientTile<D, 4>(a, e, l, dy + o, dweight);
          break;
        case 3:
          GradientTile<D, 3>(a, e, l, dy + o, dweight);
          break;
        case 2:
          GradientTile<D, 2>(a, e, l, dy + o, dweight);
          break;
        case 1:
          GradientTile<D, 1>(a, e, l, dy + o, dweight);
          break;
        default:
          break;
      }
    }
  }
}

template <class D>
HWY_INLINE void AddColumn(D d, const float* dy, int64_t rows, int64_t width, float* sum_o) {
  auto sum = hn::Zero(d);
  for (int64_t q = 0; q < rows; ++q, dy += width) sum = hn::Add(sum, hn::LoadU(d, dy));
  hn::StoreU(hn::Add(hn::LoadU(d, sum_o), sum), d, sum_o);
}

void AddRows(const float* dy_qo, int64_t rows, int64_t width, float* sum_o) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t o = 0;
  for (; o + lanes <= width; o += lanes) AddColumn(d, dy_qo + o, rows, width, sum_o + o);
  for (; o < width; ++o) AddColumn(hn::CappedTag<float, 1>(), dy_qo + o, rows, width, sum_o + o);
}

void DenseForward(const Args& a, const float* weight, const float* bias, float* y) {
  if (a.lanes % 16 == 0) return Forward<hn::CappedTag<float, 16>>(a, weight, bias, y);
  if (a.lanes % 8 == 0) return Forward<hn::CappedTag<float, 8>>(a, weight, bias, y);
  if (a.lanes % 4 == 0) return Forward<hn::CappedTag<float, 4>>(a, weight, bias, y);
  if (a.lanes % 2 == 0) return Forward<hn::CappedTag<float, 2>>(a, weight, bias, y);
  Forward<hn::CappedTag<float, 1>>(a, weight, bias, y);
}

void DenseGradient(const Args& a, const float* dy, float* dweight, float* dbias) {
  if (a.lanes % 16 == 0) return WeightGradient<hn::CappedTag<float, 16>>(a, dy, dweight, dbias);
  if (a.lanes % 8 == 0) return WeightGradient<hn::CappedTag<float, 8>>(a, dy, dweight, dbias);
  if (a.lanes % 4 == 0) return WeightGradient<hn::CappedTag<float, 4>>(a, dy, dweight, dbias);
  if (a.lanes % 2 == 0) return WeightGradient<hn::CappedTag<float, 2>>(a, dy, dweight, dbias);
  WeightGradient<hn::CappedTag<float, 1>>(a, dy, dweight, dbias);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(DenseForward);
HWY_EXPORT(DenseGradient);
HWY_EXPORT(AddRows);

void DenseForwardF32(const DenseTrainingF32Args& args, const float* weight_pnl, const float* bias_o,
                     float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(DenseForward)(args, weight_pnl, bias_o, y);
}

void DenseWeightGradientF32(const DenseTrainingF32Args& args, const float* dy, float* dweight_pnl,
                            float* dbias_o) noexcept {
  HWY_DYNAMIC_DISPATCH(DenseGradient)(args, dy, dweight_pnl, dbias_o);
}

void AddRowsF32(const float* dy_qo, int64_t rows, int64_t width, float* sum_o) noexcept {
  HWY_DYNAMIC_DISPATCH(AddRows)(dy_qo, rows, width, sum_o);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
