// SPDX-License-Identifier: Apache-2.0
// Entries of the int8 convolution. Every one gives the bits of the definition (NumberFormat in deploy/packed/model.h).
// Read first: deploy/ops/kernel.h, conv_taps_i8.h, conv_quads_i8.h, deploy/ops/shared/matmul_i8.h. Tested in:
// deploy/engine/engine_i8_test.cc, deploy/engine/choose_test.cc.
// Past 400 lines: the entries of one operator share their helpers.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "deploy/ops/conv/conv_quads_i8.h"
#include "deploy/ops/conv/conv_taps_i8.h"
#include "deploy/ops/conv/kernels.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/dense_i8.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/simd/cpu.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

/// The entry that a convolution would have, were its owners aligned with the winners.
const Kernel* AlignedEntry(bool gathered);

struct ConvI8 : Kernel {
  using Kernel::Kernel;

  Use UseOf(const Node& node) const override {
    return {.kernel = this,
            .active_inputs = node.layer->input.elements(),
            .dense_weights = node.mode == Mode::kDense || node.layer->packing.set_size == 1};
  }

  const Kernel* Aligned(const Layer& layer, Layer* other) const override {
    *other = layer;
    const bool eight = layer.packing.lanes == 8;
    if (!eight) other->packing.lanes = packed::kMaxLanes;
    return kernels::FitsConvQuadsI8(*other) ? AlignedEntry(eight) : nullptr;
  }

 protected:
  ~ConvI8() = default;
};

class TapsStep : public StepOf<TapsStep> {
 public:
  TapsStep(kernels::ConvTapsI8 conv, int32_t line_step)
      : conv_(std::move(conv)), line_step_(line_step) {
    scratch_bytes = conv_.scratch_bytes();
  }
  void MakeWinners(const Layer& kwta) { winner_count = WinnersOf(kwta); }

  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    const bool winners = winner_count > 0;
    kernels::ConvTapsI8Run({.conv = &conv_,
                            .input = io.X<uint8_t>(),
                            .output = io.Y<uint8_t>(),
                            .value_k = winners ? static_cast<uint8_t*>(io.out.value_k) : nullptr,
                            .index_k = io.out.index_k,
                            .line_k = winners && line_step_ != 0 ? io.out.line_k() : nullptr,
                            .line_step = line_step_,
                            .scratch = io.scratch});
  }
  int64_t weight_bytes() const { return static_cast<int64_t>(2 * conv_.weight.size()); }

 private:
  kernels::ConvTapsI8 conv_;
  int32_t line_step_;
};

/// One channel, read by taps; the max-pool and the k-WTA after it too.
class ConvTaps final : public ConvI8 {
 public:
  constexpr ConvTaps(const char* name, bool pool) : ConvI8(name), pool_(pool) {}

  const char* Refuses(const Node& node) const override {
    if (pool_ && node.pool == nullptr) return "no 2x2 max-pool alone reads the output";
    return kernels::HasConvTapsI8(*node.layer, pool_, node.mode == Mode::kDense, node.isa)
               ? nullptr
               : "no convolution of one channel, or the instruction set lacks what it needs";
  }

  Use UseOf(const Node& node) const override {
    Use use = ConvI8::UseOf(node);
    use.pools = pool_;
    use.kwta = node.kwta != nullptr && pool_ == (node.pool != nullptr) &&
               OneWinnerGroup(*node.kwta) > 0 && node.layer->output_zero == 0 &&
               kernels::ConvTapsMakesWinners(node.layer->output.channels);
    use.reason = node.mode == Mode::kDense ? "mode dense" : "one channel, read by taps";
    return use;
  }

  Work Count(const Layer& layer, const Use& use, int32_t) const override {
    const Sizes z(layer);
    const bool shared = SharesTaps(layer, use);
    const double taps = use.dense_weights ? z.p : Ceil(z.p, z.s);
    const double single = pool_ && !shared && std::fmod(taps, 4) == 1 ? 1 : 0;
    const double fours = Ceil(taps - single, 4), windows = pool_ ? 4 : 1;
    const double rows = std::floor(layer.output.height / (pool_ ? 2.0 : 1.0));
    const double outputs = rows * std::floor(layer.output.width / (pool_ ? 2.0 : 1.0));
    const double blocks = Ceil(z.o, 64) * 4;
    return {.units = outputs * blocks * (fours * windows * (shared ? 1 : 2) + single * 5),
            .starts = blocks * rows,
            .moved = outputs * blocks,
            .lines = blocks * fours};
  }
  const char* CostRow(const Layer& layer, const Use& use) const override {
    return SharesTaps(layer, use) ? kShared : kLanes;
  }
  std::vector<const char*> CostRows() const override { return {kShared, kLanes}; }
  double UnitFactor(std::string_view isa, const char* row) const override {
    return row == kShared && !kernels::IsAvx3Dl(isa) ? 5.5
                                                     : 1;  // pairs instead of fours; AVX2: Zen 3
  }

  const Kernel* Aligned(const Layer&, Layer*) const override { return nullptr; }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    const bool dense = node.mode == Mode::kDense;
    const int32_t group = use.kwta ? OneWinnerGroup(*node.kwta) : 0;
    auto step = std::make_unique<TapsStep>(
        *kernels::PrepareConvTapsI8(layer, pool_, static_cast<uint8_t>(node.input_zero()), dense,
                                    group),
        use.line_step);
    if (use.kwta) step->MakeWinners(*node.kwta);
    summary.weight_bytes = step->weight_bytes();
    if (!dense) summary.macs_executed = summary.nonzeros * PositionsOf(layer.output);
    return step;
  }

 private:
  static constexpr const char* kShared = "conv_taps_i8/shared";
  static constexpr const char* kLanes = "conv_taps_i8/lanes";
  /// The kernels of a block have the same taps.
  static bool SharesTaps(const Layer& layer, const Use& use) {
    return use.dense_weights || layer.packing.set_size == 1 || layer.packing.lanes == 16;
  }
  bool pool_;
};

class QuadsStep : public StepOf<QuadsStep> {
 public:
  QuadsStep(kernels::ConvQuadsI8 conv, bool winners, bool lines)
      : conv_(std::move(conv)), winners_(winners), lines_(lines) {
    parts = conv_.output.channels;
    grain = conv_.grain();
    scratch_bytes = conv_.scratch_bytes();
  }

  void Begin(const StepIo& io) const noexcept override { kernels::ConvQuadsI8FindLines(Args(io)); }
  void RunPart(const StepIo& io, int64_t begin, int64_t end, int slot) const noexcept override {
    kernels::ConvQuadsI8Args args = Args(io);
    args.rows = io.ScratchOf(slot) + conv_.rows_begin();
    args.output_begin = static_cast<int32_t>(begin);
    args.output_end = static_cast<int32_t>(end);
    kernels::ConvQuadsI8Run(args);
  }
  const kernels::ConvQuadsI8& conv() const { return conv_; }

 private:
  kernels::ConvQuadsI8Args Args(const StepIo& io) const {
    return {.conv = &conv_,
            .index_k = winners_ ? io.in.index_k : nullptr,
            .line_k = lines_ ? io.in.line_k() : nullptr,
            .value_k = winners_ ? static_cast<const uint8_t*>(io.in.value_k) : io.X<uint8_t>(),
            .output = io.Y<uint8_t>(),
            .scratch = io.scratch};
  }
  kernels::ConvQuadsI8 conv_;
  bool winners_, lines_;
};

enum class QuadsForm : uint8_t { kInPlace, kGathered, kBySets };

/// Four inputs beside each other that share owners: winners, or every channel.
class ConvQuads final : public ConvI8 {
 public:
  constexpr ConvQuads(const char* name, QuadsForm form, bool winners, const char* row)
      : ConvI8(name), form_(form), winners_(winners), row_(row) {}

  const char* Refuses(const Node& node) const override {
    if (node.mode == Mode::kDense) return "mode dense";
    if (winners_ && node.winners == nullptr) return "the input is no k-WTA";
    if (winners_ && WinnersAtPosition(*node.winners) == 0) return "positions differ in winners";
    if (!winners_ && node.layer->packing.set_size == 1) return "weights are dense";
    const auto conv = Outline(node);
    if (!conv) return "owners change inside of four groups and a row of taps";
    const QuadsForm form = conv->gathered  ? QuadsForm::kGathered
                           : conv->by_sets ? QuadsForm::kBySets
                                           : QuadsForm::kInPlace;
    return form == form_ ? nullptr : "owners and winners have another form";
  }

  Use UseOf(const Node& node) const override {
    Use use = ConvI8::UseOf(node);
    use.pools = node.pool != nullptr;
    use.reads_winners = winners_;
    if (winners_) {
      use.active_inputs = WinnersOf(*node.winners);
      const packed::Window& w = node.layer->window;
      const bool in_place =
          form_ != QuadsForm::kGathered && w.pad_h == 0 && w.pad_w == 0 && Slots(node) % 4 == 0;
      if (in_place) use.line_step = kernels::ConvQuadsChannelStep(*node.layer);
    }
    use.reason = ReasonOf(node, winners_, true);
    return use;
  }

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0, out_vectors = z.positions * z.o16 / w;
    const double slots = static_cast<double>(use.active_inputs) / z.in_positions;
    const double kw = kernels::ConvQuadsRowTaps(z.window), quads = Ceil(slots, 4);
    const double kernel_rows = z.taps / kw;
    const Tiles tiles(layer.output.width);
    const double columns = tiles.width + kw - 1;
    switch (form_) {
      case QuadsForm::kGathered: {
        // Two rows of outputs in a register that is wider than a block.
        const double lanes = z.layout.packing.lanes, two = lanes < w ? 2 : 1;
        const double entries = z.layout.blocks * Ceil(kernel_rows * slots / z.s, 4);
        const double vectors = std::max(lanes / w, 1.0), rows = Ceil(layer.output.height, two);
        const double entry = tiles.width * kw + columns * (kw == 1 ? 8 * two : kw + 4 * two);
        // Lines, values and the zeros around them, in whole vectors of 16 columns.
        const double row_w = Ceil(layer.input.width + 2.0 * z.window.pad_w, 16) * 16;
        const double planes = (layer.input.height + 2.0 * z.window.pad_h) * row_w * (slots + 1);
        const double gathered = entries * layer.output.height * row_w;
        return {.units = entries * vectors * rows * tiles.count * entry,
                .starts = z.layout.blocks * vectors * rows * tiles.count,
                .moved = (gathered * 12 + planes * 3) / (4 * w) + out_vectors,
                .lines = z.p * z.sets * lanes / kLineBytes};
      }
      case QuadsForm::kBySets: {
        const double fours = Ceil(z.sets, 4), outputs = fours * 4 * z.s * 16;
        // Lines, unpacks, and load, dot product, store of each set.
        constexpr double kOfQuad = 4 + 8 + 4 * 3;
        return {.units = z.positions * kernel_rows * quads * fours * 16 / w * kOfQuad,
                .starts = z.positions * fours,
                .moved = z.padded_positions * quads + z.positions * outputs / w,
                .lines = z.p * fours};
      }
      case QuadsForm::kInPlace:
        break;
    }
    const double entry = tiles.width * kw + columns * (kw == 1 ? 3 : kw + 4);
    return {
        .units = z.sets * kernel_rows * quads * 16 / w * layer.output.height * tiles.count * entry,
        .starts = z.layout.blocks * 16 / w * layer.output.height * tiles.count,
        .moved = z.padded_positions * quads + out_vectors,
        .lines = z.p * z.sets * 16 / kLineBytes};
  }
  const char* CostRow(const Layer&, const Use&) const override { return row_; }
  std::vector<const char*> CostRows() const override { return {row_}; }
  double UnitFactor(std::string_view isa, const char*) const override {
    return kernels::IsAvx3Dl(isa) ? 1 : 1.6;  // AVX2: Zen 3
  }

  const Kernel* Aligned(const Layer& layer, Layer* other) const override {
    return winners_ ? nullptr : ConvI8::Aligned(layer, other);
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                LayerSummary& summary) const override {
    const Layer& layer = *node.layer;
    auto step = std::make_unique<QuadsStep>(
        *kernels::PrepareConvQuadsI8(layer, Slots(node), Groups(node),
                                     static_cast<uint8_t>(node.input_zero()), node.pool != nullptr),
        winners_, use.line_step != 0);
    const kernels::ConvQuadsI8& conv = step->conv();
    int64_t entries = 0;
    for (size_t b = 0; b + 1 < conv.begin_b.size(); ++b) {
      entries += conv.begin_b[b + 1] - conv.begin_b[b];
    }
    Tell({.macs_executed =
              entries * conv.row_taps * 4 * layer.packing.lanes * PositionsOf(layer.output),
          .weight_bytes = static_cast<int64_t>(conv.weight.size()),
          .active_inputs = use.active_inputs},
         summary);
    return step;
  }

 private:
  int32_t Slots(const Node& node) const {
    return winners_ ? WinnersAtPosition(*node.winners) : node.layer->input.channels;
  }
  int32_t Groups(const Node& node) const {
    return winners_ ? node.winners->kwta.groups : node.layer->input.channels;
  }
  std::optional<kernels::ConvQuadsI8> Outline(const Node& node) const {
    return kernels::OutlineConvQuadsI8(*node.layer, Slots(node), Groups(node), node.pool != nullptr,
                                       node.isa);
  }
  QuadsForm form_;
  bool winners_;
  const char* row_;
};

/// Output positions as rows of a matrix: windows are read where they are in the padded map, a few at a time.
class WindowsStep : public StepOf<WindowsStep> {
 public:
  WindowsStep(const packed::Layout& layout, const Layer& layer, int32_t zero)
      : layer_(&layer), zero_(static_cast<uint8_t>(zero)), dense_(layout, layer) {
    const packed::Window& w = layer.window;
    // Without padding the map is read in place, unless the last four inputs of a window reach past its end.
    in_place_ = w.pad_h == 0 && w.pad_w == 0 && dense_.depth == dense_.inputs;
    pitch_ = (int64_t{layer.input.width} + 2 * w.pad_w) * layer.input.channels;
    const Size padded = Size(layer.input.height + 2 * int64_t{w.pad_h}) * pitch_ + 4;
    acc_at_ = in_place_ ? 0 : padded.RoundUp(64).value();
    parts = PositionsOf(layer.output);
    // Sums of a few tiles of rows stay in L1.
    grain = std::clamp<int64_t>(16 * 1024 / (4 * dense_.outputs), 6, kMostRows);
    scratch_bytes = (Size(acc_at_) + Size(4) * grain * dense_.outputs).value();
  }

  void Begin(const StepIo& io) const noexcept override {
    if (in_place_) return;
    const packed::Window& w = layer_->window;
    kernels::PadMapU8(layer_->input, w.pad_h, w.pad_w, zero_, io.X<uint8_t>(), io.scratch);
  }
  void RunPart(const StepIo& io, int64_t first, int64_t last, int slot) const noexcept override {
    auto* acc = reinterpret_cast<int32_t*>(io.ScratchOf(slot) + acc_at_);
    const packed::Window& w = layer_->window;
    const int64_t width = layer_->output.width;
    const int64_t down = w.stride_h * pitch_, right = int64_t{w.stride_w} * layer_->input.channels;
    const uint8_t* const map = in_place_ ? io.X<uint8_t>() : io.scratch;
    std::array<int32_t, kMostRows> offset_r;
    for (int64_t begin = first; begin < last; begin += grain) {
      const int64_t end = std::min(last, begin + grain);
      if (down ==
          width *
              right) {  // a row's last window and the next one's first are as far apart as others
        dense_.Multiply(
            {.rows = end - begin, .x = map + begin * right, .x_stride = right, .acc = acc});
        dense_.Finish(acc, begin, end, io.y);
        continue;
      }
      int64_t y = begin / width, x = begin % width;
      for (int64_t r = 0; r < end - begin; ++r) {
        offset_r[static_cast<size_t>(r)] = static_cast<int32_t>(y * down + x * right);
        if (++x == width) {
          x = 0;
          ++y;
        }
      }
      dense_.Multiply({.rows = end - begin, .x = map, .offset_r = offset_r.data(), .acc = acc});
      dense_.Finish(acc, begin, end, io.y);
    }
  }
  int64_t weight_bytes() const { return dense_.bytes(); }

 private:
  static constexpr int64_t kMostRows = 24;
  const Layer* layer_;
  uint8_t zero_;
  DenseI8 dense_;
  bool in_place_ = false;
  int64_t pitch_ = 0, acc_at_ = 0;  ///< bytes of a padded row; where the sums are in scratch
};

class ConvMatMul final : public ConvI8 {
 public:
  using ConvI8::ConvI8;

  const char* Refuses(const Node&) const override { return nullptr; }

  Use UseOf(const Node& node) const override {
    Use use = ConvI8::UseOf(node);
    use.reason = node.mode != Mode::kDense && node.layer->packing.set_size == 1
                     ? "weights are dense"
                     : ReasonOf(node, false, false);
    return use;
  }

  Work Count(const Layer& layer, const Use&, int32_t vector_bytes) const override {
    const Sizes z(layer);
    const double w = vector_bytes / 4.0;
    const double segments =
        z.window.kernel_h * (z.window.dilation_w == 1 ? 1.0 : z.window.kernel_w);
    const double inputs = z.p / segments, depth = segments * Ceil(inputs, 4) * 4;
    const bool in_place = z.window.pad_h == 0 && z.window.pad_w == 0 && std::fmod(inputs, 4) == 0;
    const double padded = z.padded_positions * layer.input.channels / (4 * w);
    return {.units = z.positions * depth / 4 * z.o16 / w,
            .starts = Ceil(z.positions, 6) * Ceil(z.o16, 4 * w),
            .moved = (in_place ? 0 : padded) + z.positions * z.o16 / w / 4,  // stored by fours
            .lines = depth * z.o16 / kLineBytes};
  }
  double WeightPasses(const Layer& layer) const override {
    const double outputs = Ceil(layer.output.channels, 16) * 16;
    return Ceil(static_cast<double>(PositionsOf(layer.output)),
                std::clamp(16 * 1024 / (4 * outputs), 6.0, 24.0));
  }
  double UnitFactor(std::string_view isa, const char*) const override {
    return kernels::IsAvx3Dl(isa) ? 1 : 2.9;  // AVX2: Zen 3
  }

  std::unique_ptr<Step> Prepare(const Node& node, const Use&,
                                LayerSummary& summary) const override {
    const packed::Layout layout(node.layer->kernel(), node.layer->packing);
    auto step = std::make_unique<WindowsStep>(layout, *node.layer, node.input_zero());
    summary.weight_bytes = step->weight_bytes();
    return step;
  }
};

constexpr const char* kInPlaceDense = "conv_quads_i8/dense";
constexpr const char* kInPlaceWinners = "conv_quads_i8/winners";
constexpr const char* kGathered = "conv_quads_i8/gathered";
constexpr const char* kSets = "conv_quads_i8/sets";

constexpr ConvTaps kTapsPool("conv_taps_i8", true);
constexpr ConvTaps kTaps("conv_taps_i8/no_pool", false);
constexpr ConvQuads kQuadsWinners(kInPlaceWinners, QuadsForm::kInPlace, true, kInPlaceWinners);
constexpr ConvQuads kSetsWinners("conv_quads_i8/sets_winners", QuadsForm::kBySets, true, kSets);
constexpr ConvQuads kGatheredWinners("conv_quads_i8/gathered_winners", QuadsForm::kGathered, true,
                                     kGathered);
constexpr ConvQuads kQuadsDense(kInPlaceDense, QuadsForm::kInPlace, false, kInPlaceDense);
constexpr ConvQuads kSetsDense("conv_quads_i8/sets_dense", QuadsForm::kBySets, false, kSets);
constexpr ConvQuads kGatheredDense("conv_quads_i8/gathered_dense", QuadsForm::kGathered, false,
                                   kGathered);
constexpr ConvMatMul kMatMul("matmul_i8/conv");

const Kernel* AlignedEntry(bool gathered) { return gathered ? &kGatheredWinners : &kQuadsWinners; }

constexpr const Kernel* kKernels[] = {
    &kTapsPool,   &kTaps,      &kQuadsWinners,  &kSetsWinners, &kGatheredWinners,
    &kQuadsDense, &kSetsDense, &kGatheredDense, &kMatMul};

}  // namespace

std::span<const Kernel* const> ConvKernelsI8() { return kKernels; }

}  // namespace bisparse::ops
