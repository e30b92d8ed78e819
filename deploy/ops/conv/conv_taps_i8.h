// SPDX-License-Identifier: Apache-2.0
// int8 convolution of a map of one channel with packed weights. Either the stride is 1 and the 2×2 max-pool after it is
// done too (four windows an output), or there is any stride and no pool (one window an output). On AVX-512 with VBMI and
// VNNI every lane picks its own four taps of the window by a byte permute, so any owners cost the same. On AVX2 kernels
// of a block must share their taps.
//
//   y[py, px, o] = clamp(max over dy, dx of Σ_taps w[o, ky, kx] · x[s·py + dy + ky, s·px + dx + kx] …)
//
// with a pool s = 2 and dy, dx are 0 and 1; without, s is the stride and both are 0.
// Eight rows of the map are interleaved as columns of 8 bytes. So one load of 64 bytes holds all windows of a position:
// they differ by 1 (a row down) and 8 (a column right) in the index.
// Three forms:
//   shared  All kernels of a block of 16 have the same taps (L = 16, or a dense layer). One permute makes the fours of
//           taps of a position that dot products then read from memory, each broadcast to 16 kernels. Bound for 64 kernels
//           of 6 or 7 taps: 32 dot products, two a cycle: 16 cycles a pooled position.
//   lanes   Any owners: each lane of a permute picks its own kernel's four taps. Kernels are sorted by their number of
//           taps; blocks of 16 then need few fours. A tap that is left over (the ninth) takes one permute for all four
//           windows. Bound for 64 kernels of 8 or 9 taps: 34 permutes and 40 dot products, which share two pipes on
//           Zen 5: 37 cycles a pooled position.
//   pairs   AVX2 (conv_taps_pairs_i8.cc), shared taps: pairs of taps as 16-bit numbers, each broadcast to 16 kernels'
//           pairs of weights. Bound for 64 kernels of 6 or 7 taps: 112 multiplications and as many additions a pooled
//           position, four a cycle on Zen 3: 56 cycles.
// After it the k-WTA of one winner in 8 or 16 channels is a fold of 16-bit keys (pairs: a minimum of 16-bit words).
// Tested in: conv_taps_i8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_CONV_CONV_TAPS_I8_H_
#define BISPARSE_DEPLOY_OPS_CONV_CONV_TAPS_I8_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/size.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

struct ConvTapsI8 {
  Shape input, output;  ///< output: of the max-pool where there is one
  int32_t windows = 4;  ///< whose largest sum an output is: 4 with a max-pool, else 1
  int32_t step = 2;     ///< rows and columns of the input from one output to the next
  int32_t pad_h = 0, pad_w = 0;
  uint8_t zero = 0;    ///< what pads the map
  int32_t blocks = 0;  ///< of 16 kernels, in chunks of four
  int32_t group = 0;   ///< can write the winners of groups of so many channels: 8, 16, 0: of none
  /// Groups of each block: fours_b of four taps, then perhaps one of a single tap.
  std::vector<int32_t> begin_b, fours_b;
  /// [groups][64] bytes of the window; of a single tap, the byte in each of the four windows.
  AlignedBuffer<uint8_t> index;
  AlignedBuffer<int8_t> weight;            ///< [groups][64]
  AlignedBuffer<int32_t> bias_o, shift_o;  ///< [blocks·16] of lanes; bias with the rounding term
  /// [chunks][64] byte of a chunk's packed lanes: of output o, and of byte i of what the winners' fold reads.
  AlignedBuffer<uint8_t> order, fold;
  AlignedBuffer<uint8_t> complement;  ///< [chunks][64] 255 - channel of each byte of the fold
  // Shared form: distinct fours of taps, and which of them each of a block's is.
  bool shared = false;
  static constexpr size_t kChunkFours = 4;  ///< of a block, up to which four blocks run together
  int32_t fours = 0;
  std::vector<int32_t> four_g;  ///< [groups]
  AlignedBuffer<uint8_t>
      spread;  ///< [spreads()][64] bytes of the window: (four · windows + window) · 4 + tap
  int64_t spreads() const { return (fours * windows + 15) / 16; }
  // Pairs form, from shared with step 2: distinct pairs of taps (bytes of the window) and which of them each of a block's is.
  std::vector<std::array<uint8_t, 2>> pairs;
  std::vector<int32_t> pair_begin_b, pair_g;
  /// [pairs][windows]: where both taps' words begin, from the words of the pooled position's first row.
  std::vector<std::array<int32_t, 2>> pair_from;
  AlignedBuffer<int16_t> pair_weight;            ///< [pair_g.size()][32], kernels in kPairOrder
  AlignedBuffer<int32_t> pair_bias, pair_shift;  ///< [blocks·16], likewise
  /// Kernels of a block in the order that packing two registers of 32-bit sums undoes.
  static constexpr int32_t kPairOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
  bool has_pairs() const { return shared && step == 2; }
  int32_t padded_w() const { return input.width + 2 * pad_w; }
  int32_t padded_h() const { return input.height + 2 * pad_h; }
  int64_t row_bytes() const { return (padded_w() + 31) / 16 * 16; }
  /// Where the columns begin in scratch: after the padded map with eight rows of slack.
  int64_t columns_at() const { return ((Size(padded_h()) + 8) * row_bytes()).RoundUp(64).value(); }
  /// Pairs form: words of the even, then of the odd columns of a padded row; a row of outputs.
  int64_t half_row() const {
    return (std::max<int64_t>(row_bytes() / 2, padded_width() + 8) + 31) / 32 * 32;
  }
  int64_t padded_width() const { return (int64_t{output.width} + 15) / 16 * 16; }
  /// The padded map, then eight of its rows as columns, a row of sums of four blocks, a row of spread taps; or a row of
  /// four blocks' outputs, its rows as words, a row of spread pairs.
  int64_t scratch_bytes() const {
    const Size width = output.width;
    const Size fours_bytes =
        Size(8) * row_bytes() + 64 + width * (Size(256) + Size(64) * spreads());
    const Size pairs_bytes =
        width * 128 + (Size(padded_h()) + 8) * 4 * half_row() +
        Size(static_cast<int64_t>(pairs.size())) * 4 * windows * padded_width();
    return (Size(columns_at()) + std::max(fours_bytes, pairs_bytes)).value();
  }
};

/// True where the layer is one that the kernel computes and the instruction set is one that it is made for, with these
/// owners (dense: without). pool: a 2×2 max-pool of stride 2 follows. The layer has one input channel, kernels of at most 7
/// rows and columns, one stride for both (1 with a pool), no more outputs and places than a first layer has, and is not the
/// last with weights.
bool HasConvTapsI8(const packed::Layer& layer, bool pool, bool dense, std::string_view isa);

/// Whether the kernel can make the winners of a k-WTA after it where it has so many output channels.
constexpr bool ConvTapsMakesWinners(int32_t channels) {
  return channels % 64 == 0 && channels <= 256;
}

/// dense: every tap, owned or not. group: a k-WTA of one winner in each group of 8 or 16 channels follows, 0: none; kept
/// where ConvTapsMakesWinners. Nothing where HasConvTapsI8 says no whatever the CPU has.
std::optional<ConvTapsI8> PrepareConvTapsI8(const packed::Layer& layer, bool pool, uint8_t zero,
                                            bool dense, int32_t group);

struct ConvTapsI8Args {
  const ConvTapsI8* conv = nullptr;
  const uint8_t* input = nullptr;
  uint8_t* output = nullptr;  ///< conv->output, or
  uint8_t* value_k =
      nullptr;  ///< conv->group > 0: the winners instead, channels / group a position, and
  int32_t* index_k = nullptr;  ///< where they stand in the map, or
  uint16_t* line_k = nullptr;  ///< channel · line_step
  int32_t line_step = 0;
  uint8_t* scratch = nullptr;  ///< conv->scratch_bytes(), 64-byte aligned
};
void ConvTapsI8Run(const ConvTapsI8Args& args) noexcept;
/// The pairs form; only on AVX2 and AVX-512, conv->has_pairs(). Called by ConvTapsI8Run.
void ConvTapsPairsI8Run(const ConvTapsI8Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_CONV_CONV_TAPS_I8_H_
