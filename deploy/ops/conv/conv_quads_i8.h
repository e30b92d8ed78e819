// SPDX-License-Identifier: Apache-2.0
// int8 convolution with packed weights that reads winners only, where owners are aligned with the
// k-WTA's groups: they are constant over a group and a row of taps.
//
//   acc[oy, ox, o] = bias_o[o] + Σ over entries (four of (ky, slot)) of o's block, kx, j < 4 of
//                    weight[channel(oy + ky_j, ox + kx, slot_j), ky_j, kx, o] · value(…)
//
// Where L = 16 and four groups beside each other (a quad) share owners everywhere, an entry is a quad of one kernel row.
// It is read where the winners are. Otherwise (`gathered`) any four (ky, slot) that a block owns make an entry, the last
// one filled up with zeros. Each row of them is brought together from planes of single slots before it is used.
//
// A channel's weights for one block and kernel row are lines of 4·L bytes: four taps of L outputs (16 or 8),
//
//   byte 4q + i of 16-byte part b = tap q, output 4b + i
//
// Unpacking the lines of four winners by bytes, then by words, gives for each tap what a dot product wants: four inputs
// beside each other for 16 outputs. The fifth tap of a row of five and the only one of a row of one are kept a second
// time, as L bytes in the order of outputs. AVX-512 with VBMI takes four of those and permutes them. With L = 8 its
// registers hold two output rows.
//
// Cost: a load for each winner, 2 unpacks and a dot product (64 multiplications) for each tap. The unpacked taps serve
// all columns of a tile, whose sums stay in registers. Loads are what bounds it, so where a winner's lines are is one
// u16: a quad's four come in one load. A 2×2 max-pool after the layer is done on the sums.
//
// Rows of one tap of several sets (1×1 convolutions of many outputs; `by_sets`) are lines of four sets instead: see
// conv_quads_sets_i8.cc. Why: docs/decisions/0004-quads.md, docs/decisions/0011-gathered-quads.md.
// Read first: conv_packed.h. Tested in: conv_quads_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_QUADS_I8_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_QUADS_I8_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/base/aligned_buffer.h"
#include "deploy/base/size.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// Taps of a kernel row: taps that lie apart are a row each.
inline int32_t ConvQuadsRowTaps(const packed::Window& w) {
  return w.dilation_w == 1 ? w.kernel_w : 1;
}

/// Made at load, once.
struct ConvQuadsI8 {
  Shape input, output;  ///< output: of the convolution, before the pool
  packed::Window window;
  uint8_t zero = 0;   ///< what pads the map; 0 where winners are read
  bool pool = false;  ///< writes the 2×2 max-pool of stride 2 of the output
  bool gathered = false, by_sets = false;
  int32_t rows = 1, row_taps = 1;  ///< of the kernel; see ConvQuadsRowTaps
  int32_t lanes = 16;              ///< L
  int32_t slots = 0;               ///< winners of a position
  int32_t quads = 0;     ///< of a position: slots padded to 4; of a gathered row's column: 1
  int32_t blocks = 0;    ///< real kernel blocks of L outputs
  int32_t set_size = 1;  ///< S
  /// From a line to the one of the next four taps, or of the next four sets.
  int64_t line_bytes = 0;
  int32_t channel_step = 0;       ///< from a channel's lines to the next one's, in units of 8 bytes
  std::vector<int32_t> begin_b;   ///< entries of each block
  std::vector<int32_t> weight_e;  ///< bytes
  /// Where it lies from the window's first element on, in quads; gathered: its row in the block's rows.
  std::vector<int32_t> quad_e;
  /// Gathered: where slot j's plane begins, moved to the kernel row; that row's lines in units of 8 bytes.
  std::vector<int32_t> plane_ej, row_ej;
  int32_t most_entries = 0;  ///< of a block
  /// By sets: of each four sets, kernel row and quad, where the owner in each set has its sums, and where they are read
  /// (bytes): the first time among the biases, which come last. Sets past the last one have a block of their own.
  struct Sums {
    int32_t to, from;
  };
  std::vector<Sums> sums_eg;
  int32_t sums_stride() const { return sets_outputs() + 16; }  ///< from sums to biases
  AlignedBuffer<int8_t> weight;
  bool narrow = false;  ///< all |weight| <= packed::kNarrowWeight
  /// [blocks·L, padded to 16]; bias with the rounding term.
  AlignedBuffer<int32_t> bias_o, shift_o;
  int32_t padded_w() const { return input.width + 2 * window.pad_w; }
  int32_t padded_h() const { return input.height + 2 * window.pad_h; }
  /// Columns of a plane or gathered row.
  int32_t row_w() const { return (padded_w() + 15) / 16 * 16; }
  int64_t plane() const { return int64_t{padded_h()} * row_w(); }
  /// Bytes of scratch that all parts share: lines and values of every padded position, or planes of them and one of zeros.
  int64_t shared_bytes() const {
    return gathered ? (Size(slots + 1) * plane() * 3).value()
                    : (Size(padded_h()) * padded_w() * quads * 12 + 64).value();
  }
  /// Bytes that each part needs for itself: gathered rows, two output rows of a block; or sums of four sets.
  int64_t rows_bytes() const {
    if (by_sets) return 2 * sums_stride() * int64_t{sizeof(int32_t)};
    return gathered ? (Size(2) * most_entries * row_w() * 12).value() : 0;
  }
  /// Of kernel row `row` from the window's first element on, in a map or plane with rows of `width`.
  int64_t RowAt(int32_t row, int64_t width) const {
    const int32_t parts = window.kernel_w / row_taps;
    return row / parts * window.dilation_h * width + int64_t{row % parts} * window.dilation_w;
  }
  int32_t sets_outputs() const { return 4 * set_size * lanes; }  ///< outputs of four sets
  int32_t grain() const { return by_sets ? sets_outputs() : 16; }
  /// Of a scratch that holds both: where the rows begin, and its size.
  int64_t rows_begin() const { return Size(shared_bytes()).RoundUp(64).value(); }
  int64_t scratch_bytes() const { return (Size(rows_begin()) + rows_bytes()).value(); }
  /// The winners can be read where the producer left them.
  bool reads_in_place() const {
    return !gathered && window.pad_h == 0 && window.pad_w == 0 && slots % 4 == 0;
  }
};

/// L = 16 or 8, stride 1, rows of 1, 3 or 5 taps (dilated ones are of 1): what the kernel is made for, whoever owns what.
bool FitsConvQuadsI8(const packed::Layer& layer);

/// Whether that instruction set runs the layer by sets. That needs quads that are read in place and no pool after the
/// layer.
bool FitsConvQuadsBySets(const packed::Layer& layer, int32_t slots, std::string_view isa);

/// ConvQuadsI8::channel_step.
inline int32_t ConvQuadsChannelStep(const packed::Layer& layer) {
  const packed::Window& w = layer.window;
  return w.kernel_h * (w.kernel_w / ConvQuadsRowTaps(w)) * layer.packing.lanes / 2;
}

/// slots: winners of each position, slots / groups of each of `groups` equal groups of channels; a dense map is
/// slots = groups = channels. pool: whether one follows. Nothing if the layer is not aligned so: L = 16 or 8, stride 1,
/// kernel rows of 1, 3 or 5 taps, owners constant over each group and row of taps, at most 524,280 bytes of lines a set and
/// four taps (channels × rows × 4·L).
std::optional<ConvQuadsI8> PrepareConvQuadsI8(const packed::Layer& layer, int32_t slots,
                                              int32_t groups, uint8_t zero, bool pool);
/// Which form it would have on that instruction set; without what only a run reads (weights, biases, sums).
std::optional<ConvQuadsI8> OutlineConvQuadsI8(const packed::Layer& layer, int32_t slots,
                                              int32_t groups, bool pool, std::string_view isa);

struct ConvQuadsI8Args {
  const ConvQuadsI8* conv = nullptr;
  const int32_t* index_k =
      nullptr;  ///< winners of the map, `slots` a position; null: every channel
  const uint16_t* line_k = nullptr;  ///< instead, where reads_in_place(): channel · channel_step
  const uint8_t* value_k = nullptr;
  uint8_t* output = nullptr;   ///< [out_h, out_w, out_c], requantised; halved by the pool
  uint8_t* scratch = nullptr;  ///< conv->shared_bytes(), 64-byte aligned
  uint8_t* rows = nullptr;     ///< conv->rows_bytes(), 64-byte aligned, of this part alone
  /// A part of the outputs, from a multiple of conv->grain() on, for one of several threads.
  int32_t output_begin = 0, output_end = std::numeric_limits<int32_t>::max();
};
/// Where each winner's lines are, into scratch; once, before the parts.
void ConvQuadsI8FindLines(const ConvQuadsI8Args& args) noexcept;
/// The outputs from output_begin to output_end, of lines found before.
void ConvQuadsI8Run(const ConvQuadsI8Args& args) noexcept;
/// The same where conv->by_sets and the CPU has vectors; ConvQuadsI8Run calls it.
void ConvQuadsSetsI8Run(const ConvQuadsI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_QUADS_I8_H_
