// SPDX-License-Identifier: Apache-2.0
// Convolution with packed weights, channels last, zeros around the map:
//
//   y[oy, ox, o] = bias[o] + Σ over p = (c, ky, kx) owned by o of weight[p] · x[oy·sh - ph + ky·dh, ox·sw - pw + kx·dw, c]
//
// Ways, chosen at load by PrepareConvPacked… (conv_packed_prepare.h):
//   ConvPackedDenseF32   every activation; L > 1: a row of lanes is a vector (form kLanes),
//                        L = 1: neighbouring output positions are a vector (form kColumns)
//   ConvPackedPooledF32  the same and the 2×2 max-pool after it, few input channels (kPooledColumns)
//   ConvPackedPooledLanesF32  … and L = 16, any input channels (kPooledLanes)
//   ConvPackedWinnersF32  winners only; form kAlignedRows or kAlignedTaps where the owner does not
//                        depend on which channel of a group won (accumulators stay in registers),
//                        else kScattered
// The order in which one output is summed depends on the plan alone: any split into row ranges
// gives the same bits. Read first: deploy/ops/README.md (bounds of each form), deploy/packed/layout.h. Tested
// in: conv_packed_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_H_

#include <algorithm>
#include <cstdint>

#include "deploy/base/size.h"
#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/shared/winners.h"

namespace bisparse::kernels {

/// Sizes; out_h = (in_h + 2·pad_h - extent_h) / stride_h + 1 and likewise out_w.
struct ConvPackedShape {
  int32_t in_h = 0, in_w = 0, in_c = 0;
  int32_t out_h = 0, out_w = 0, out_c = 0;  ///< out_c = O, without padding
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int32_t dilation_h = 1, dilation_w = 1;
  int32_t set_size = 1, lanes = 1, sets = 1;  ///< S, L, N

  int32_t padded_h() const { return in_h + 2 * pad_h; }
  int32_t padded_w() const { return in_w + 2 * pad_w; }
  int32_t extent_h() const { return (kernel_h - 1) * dilation_h + 1; }  ///< rows of a window
  int32_t blocks() const { return sets * set_size; }
};

enum class ConvPackedForm : uint8_t {
  kLanes,
  kColumns,
  kPooledColumns,
  kPooledLanes,
  kAlignedRows,
  kAlignedTaps,
  kScattered
};
/// "lanes", "columns", "pooled_columns", "pooled_lanes", "aligned_rows", "aligned_taps", "scattered".
const char* ConvPackedFormName(ConvPackedForm form) noexcept;

/// Scratch of ConvPackedPooledF32: for each 16 pooled columns, input channel and distance between
/// an input column and 2·px·stride_w a plane of all padded rows, 16 floats each; then a row between
/// zeros.
struct PooledColumns {
  explicit PooledColumns(const ConvPackedShape& s)
      : width(s.out_w / 2),
        shifts(s.kernel_w + s.stride_w),
        channels(s.in_c),
        padded_w(s.padded_w()),
        stride_h(s.stride_h),
        phase_rows((s.padded_h() + s.stride_h - 1) / s.stride_h) {}
  int32_t width, shifts, channels, padded_w, stride_h, phase_rows;  ///< width: pooled columns
  int64_t plane() const { return int64_t{stride_h} * phase_rows * 16; }
  int64_t floats() const {
    return (Size(width).CeilDivide(16) * channels * shifts * plane()).value();
  }
  /// Where the plane of shift 0, channel 0 begins for pooled columns px ….
  int64_t vector(int32_t px) const {
    return int64_t{px / 16} * channels * shifts * plane() + px % 16;
  }
  /// Of padded row y in a plane: the rows under one tap follow one another.
  int64_t Row(int32_t y) const { return (int64_t{y} % stride_h * phase_rows + y / stride_h) * 16; }
  /// Input columns that vectors of pooled columns read, whole vectors at stride 1, or more.
  int32_t row_floats() const {
    return std::max((width + 15) / 16 * 32 + (shifts - 1) / 2 * 2, padded_w);
  }
};

/// Scratch of the aligned forms: for each slot a plane of f32 values, then a plane of u16 channels.
struct SlotPlanes {
  /// Four channels are read at once, up to three of them past a row's end.
  explicit SlotPlanes(const ConvPackedShape& s)
      : rows(s.padded_h()), pitch((s.padded_w() + 3 + 3) / 4 * 4) {}
  int32_t rows, pitch;
  /// Sixteen are written at once: into the next row, before that is written itself.
  int64_t plane() const { return int64_t{rows} * pitch + 16; }
};

/// What the kernels take; pointers into PackedLists.
struct ConvPackedPlanF32 {
  ConvPackedForm form = ConvPackedForm::kLanes;
  ConvPackedShape shape;
  const float* weight = nullptr;  ///< PackedLists::WeightBase
  const float* bias_o = nullptr;  ///< [N·S·L]
  const int32_t* begin_b = nullptr;
  const int32_t* input_e = nullptr;
  const int32_t* weight_e = nullptr;
  const uint8_t* owner_pn = nullptr;  ///< kScattered with S > 1
  int32_t per_position = 0;           ///< kAligned…: winners of each position
};

struct ConvPackedDenseF32Args {
  ConvPackedPlanF32 plan;
  const float* input = nullptr;  ///< [in_h, in_w, in_c]
  float* output =
      nullptr;  ///< [out_h, out_w] rows of output_stride floats, the first out_c are written
  int64_t output_stride = 0;
  int32_t row_begin = 0, row_end = 0;  ///< output rows to compute: 0 … out_h
  float* scratch = nullptr;            ///< [ConvPackedScratchFloats]
};

struct ConvPackedWinnersF32Args {
  ConvPackedPlanF32 plan;
  WinnersF32 winners;       ///< of the map [in_h, in_w, in_c]
  float* output = nullptr;  ///< as above
  int64_t output_stride = 0;
  int32_t row_begin = 0, row_end = 0;
  float* scratch = nullptr;
};

/// Floats of scratch, at least 64-byte aligned, one for each concurrent call.
int64_t ConvPackedScratchFloats(const ConvPackedPlanF32& plan) noexcept;

/// plan.form must be kLanes or kColumns.
void ConvPackedDenseF32(const ConvPackedDenseF32Args& args) noexcept;
/// plan.form must be kPooledColumns, or kPooledLanes for the second. Rows are those of the pooled map, out_h / 2 of out_w / 2
/// columns: the conv's rows row_begin·2 … row_end·2 with a 2×2 max-pool of stride 2 after them.
void ConvPackedPooledF32(const ConvPackedDenseF32Args& args) noexcept;
void ConvPackedPooledLanesF32(const ConvPackedDenseF32Args& args) noexcept;

/// Where ConvPackedPooledWinnersF32 leaves the winners, in the order of winners.h.
struct PooledWinnersF32 {
  int32_t groups = 0;          ///< of out_c / groups neighbouring channels, at most 16
  int32_t* index_k = nullptr;  ///< [out_h / 2 · out_w / 2 · groups]
  float* value_k = nullptr;
};

/// Whether the k-WTA after the pool can be done too: one winner a group of at most 16 channels,
/// plan.form kPooledColumns.
bool CanPoolWinnersF32(const ConvPackedPlanF32& plan, const KwtaF32Args& kwta) noexcept;
/// As ConvPackedPooledF32 and then KwtaF32, for the winners of the pooled rows; args.output is
/// not used.
void ConvPackedPooledWinnersF32(const ConvPackedDenseF32Args& args,
                                const PooledWinnersF32& winners) noexcept;
/// plan.form must be kAlignedRows, kAlignedTaps or kScattered.
void ConvPackedWinnersF32(const ConvPackedWinnersF32Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_PACKED_H_
