// SPDX-License-Identifier: Apache-2.0
// The packed layout's one home: which slot holds which weight, and who owns it.
//
//   position  p = (c·kh + ky)·kw + kx       of P = I·kh·kw (linear layer: kh = kw = 1, p = input)
//   output    o = (n·S + s)·L + l           of O, padded to N·S·L (N sets of S blocks of L lanes)
//   run       r = (c / run.channels)·T + t  of R; T tap groups: t = tap, ky or 0, and
//                                           T = kh·kw, kh or 1, for run.taps = one, row or all
//   slot      weight_pnl[(p·N + n)·L + l]   the weight at p of the output with lane l in the
//                                           block s = owner_nr[n·R + r(p)] of set n
//
// At every position exactly one kernel block of a set is not zero. A dense layer is S = 1 (no
// owners). Sizes that do not divide are padded: the last run is shorter, kernels o >= O are empty.
// Source: Hunter, Spracklen, Ahmad 2022, section 3 (L = 1, run = one position).
// Read first: docs/packing.md (a layer packed by hand). Tested in: layout_test.cc, pack_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_LAYOUT_H_
#define BISPARSE_DEPLOY_PACKED_LAYOUT_H_

#include <cstdint>
#include <span>
#include <string>

namespace bisparse::packed {

/// Which taps of a kernel share an owner.
enum class RunTaps : uint8_t { kOne, kRow, kAll };

struct Run {
  int32_t channels = 1;  ///< neighbouring input channels (or inputs) that share an owner
  RunTaps taps = RunTaps::kOne;
  bool operator==(const Run&) const = default;
};

inline constexpr int32_t kMaxSetSize = 64;
inline constexpr int32_t kMaxLanes = 16;
// Far beyond any network for a CPU; with them no product of a layout's sizes overflows 64 bits. Of models: limits.h.
inline constexpr int32_t kMaxOutputs = 1 << 20;
inline constexpr int32_t kMaxKernel = 1 << 12;

struct Packing {
  int32_t set_size = 1;  ///< S, 1 … kMaxSetSize; the weights' density is 1/S
  int32_t lanes = 1;     ///< L, 1 … kMaxLanes
  Run run;
  bool operator==(const Packing&) const = default;
};

/// A kernel before packing; weights row-major [outputs][channels][kernel_h][kernel_w].
struct KernelShape {
  int32_t outputs = 0, channels = 0, kernel_h = 1, kernel_w = 1;
  int64_t positions() const { return int64_t{channels} * kernel_h * kernel_w; }
  int64_t weights() const { return outputs * positions(); }
  bool operator==(const KernelShape&) const = default;
};

/// Why no layout can be made of these: "set_size = 65 is not in [1, 64]"; empty if one can.
std::string LayoutFault(const KernelShape& shape, const Packing& packing);

/// Where an output lies: set n, block s of the set, lane l of the block.
struct OutputPlace {
  int32_t n, s, l;
};

/// Sizes and index functions of a packed layer; see the top of this file. Everybody reads owners through it. An
/// `owner_nr` has owners() elements, and none in a dense layer.
struct Layout {
  /// Throws Error (kInternal) where LayoutFault finds one: whoever reads sizes from outside asks it
  /// first.
  Layout(const KernelShape& shape, const Packing& packing);

  KernelShape shape;
  Packing packing;
  int32_t sets = 0;        ///< N
  int64_t positions = 0;   ///< P
  int32_t tap_groups = 0;  ///< T
  int64_t runs = 0;        ///< R
  int32_t blocks = 0;      ///< kernel blocks with at least one real kernel: ceil(O / L)

  int64_t outputs_padded() const { return int64_t{sets} * packing.set_size * packing.lanes; }
  int64_t slots() const { return positions * sets * packing.lanes; }
  int64_t owners() const { return packing.set_size == 1 ? 0 : sets * runs; }
  /// Kernel blocks of set n that hold at least one real kernel; the others pad the last set (they may
  /// own positions, whose weights are then 0).
  int32_t BlocksOfSet(int32_t n) const;
  int64_t RunOf(int64_t position) const {
    const int64_t taps = int64_t{shape.kernel_h} * shape.kernel_w;
    const int64_t channel = position / taps, tap = position % taps;
    int64_t tap_group = 0;
    if (packing.run.taps == RunTaps::kOne) tap_group = tap;
    if (packing.run.taps == RunTaps::kRow) tap_group = tap / shape.kernel_w;
    return channel / packing.run.channels * tap_groups + tap_group;
  }
  /// The block of set n that has its weights at run r; 0 in a dense layer.
  int32_t OwnerOfRun(std::span<const uint8_t> owner_nr, int32_t n, int64_t r) const {
    return packing.set_size == 1 ? 0 : owner_nr[static_cast<size_t>(n * runs + r)];
  }
  /// The block of set n that has its weights at a position; 0 in a dense layer.
  int32_t Owner(std::span<const uint8_t> owner_nr, int32_t n, int64_t position) const {
    return packing.set_size == 1 ? 0 : OwnerOfRun(owner_nr, n, RunOf(position));
  }
  int64_t Slot(int64_t position, int32_t n, int32_t l) const {
    return (position * sets + n) * packing.lanes + l;
  }
  int64_t Output(int32_t n, int32_t s, int32_t l) const {
    return (int64_t{n} * packing.set_size + s) * packing.lanes + l;
  }
  /// The inverse of Output.
  OutputPlace PlaceOf(int64_t output) const {
    const int64_t block = output / packing.lanes;
    return {static_cast<int32_t>(block / packing.set_size),
            static_cast<int32_t>(block % packing.set_size),
            static_cast<int32_t>(output % packing.lanes)};
  }
  /// Calls f(p, n, o, slot) once for each row of L slots, in the order of weight_pnl: slot + l has the weight at p of output
  /// o + l. Rows reach into the padding: o + l < outputs_padded().
  template <class F>
  void ForEachRow(std::span<const uint8_t> owner_nr, F&& f) const {
    int64_t slot = 0;
    for (int64_t p = 0; p < positions; ++p) {
      const int64_t r = RunOf(p);
      for (int32_t n = 0; n < sets; ++n, slot += packing.lanes) {
        f(p, n, Output(n, OwnerOfRun(owner_nr, n, r), 0), slot);
      }
    }
  }
  /// Calls f(p, n, l, o, slot) once for each slot of a real kernel (o < O), in the order of weight_pnl. The other
  /// slots pad the layer.
  template <class F>
  void ForEachSlot(std::span<const uint8_t> owner_nr, F&& f) const {
    ForEachRow(owner_nr, [&](int64_t p, int32_t n, int64_t first, int64_t slot) {
      for (int32_t l = 0; l < packing.lanes && first + l < shape.outputs; ++l)
        f(p, n, l, first + l, slot + l);
    });
  }
};

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_LAYOUT_H_
