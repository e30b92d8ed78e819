// SPDX-License-Identifier: Apache-2.0
// Entries of k-WTA. Both write the list of winners, and the map where somebody reads it. Read first: deploy/ops/kernel.h,
// kwta.h, kwta_u8.h. Tested in: deploy/engine/engine_test.cc, deploy/engine/engine_i8_test.cc.
#include "deploy/ops/kwta/kernels.h"

#include <cmath>

#include "deploy/ops/kwta/kwta.h"
#include "deploy/ops/kwta/kwta_u8.h"
#include "deploy/ops/shared/counts.h"
#include "deploy/ops/shared/elementwise_u8.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/simd/cpu.h"

namespace bisparse::ops {
namespace {

using packed::Layer;

class Kwta : public Kernel {
 public:
  using Kernel::Kernel;

  const char* Refuses(const Node&) const override { return nullptr; }
  Use UseOf(const Node& node) const override {
    return {.kernel = this, .active_inputs = node.layer->input.elements(), .dense_weights = true};
  }

 protected:
  ~Kwta() = default;
  static bool IsLocal(const Layer& layer) { return layer.kwta.scope == packed::KwtaScope::kLocal; }
  static bool OneInAGroup(const Layer& layer) {
    return IsLocal(layer) && layer.kwta.chunk == 1 && layer.kwta.winners == layer.kwta.groups;
  }
  static int32_t GroupWidth(const Layer& layer) { return layer.input.channels / layer.kwta.groups; }

  /// Spans are what is ranked by itself: groups of a position, or of the map. w: elements of a vector.
  static Work CountSpans(const Layer& layer, const Use& use, double w) {
    const packed::Kwta& kwta = layer.kwta;
    const double elements = static_cast<double>(layer.input.elements());
    const double places = IsLocal(layer) ? static_cast<double>(PositionsOf(layer.input)) : 1;
    const double spans = places * kwta.groups;
    const bool one = OneInAGroup(layer);
    // Bytes past the last whole vector of a span go one by one.
    const double span = elements / spans / kwta.chunk;
    const double vectors = w > 16 ? std::floor(span / w) + std::fmod(span, w) / 10 : Ceil(span, w);
    return {.units = one ? elements / w : spans * vectors * kwta.chunk,
            .starts = one ? 0 : spans,
            .moved = use.writes_map ? places * kwta.winners * kwta.chunk : 0};
  }
};

class F32Step : public StepOf<F32Step> {
 public:
  F32Step(const Layer& layer, const Use& use, int32_t pool_w)
      : args_(KwtaSizesOf(layer)), elements_(layer.output.elements()), writes_map_(use.writes_map) {
    args_.pool_w = pool_w;
    winner_count = kernels::KwtaCountF32(args_);
    if (use.begins) begin_count = int64_t{args_.positions} + 1;
    scratch_bytes = 4 * kernels::KwtaScratchFloats(args_);
  }
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::KwtaF32Args args = args_;
    args.x = io.X<float>();
    args.index_k = io.out.index_k;
    args.value_k = static_cast<float*>(io.out.value_k);
    args.begin_p = begin_count > 0 ? io.out.begin_p : nullptr;
    args.scratch = reinterpret_cast<float*>(io.scratch);
    kernels::KwtaF32(args);
    if (writes_map_) {
      kernels::ScatterWinnersF32(args.index_k, args.value_k, winner_count, io.Y<float>(),
                                 elements_);
    }
  }

 private:
  kernels::KwtaF32Args args_;
  int64_t elements_;
  bool writes_map_;
};

class KwtaF32 final : public Kwta {
 public:
  using Kwta::Kwta;

  Use UseOf(const Node& node) const override {
    Use use = Kwta::UseOf(node);
    use.pools = node.pool != nullptr && kernels::KwtaPoolsF32(KwtaSizesOf(*node.layer));
    return use;
  }
  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    return CountSpans(layer, use, vector_bytes / 4.0);
  }
  const char* CostRow(const Layer& layer, const Use&) const override {
    const int32_t width = GroupWidth(layer);
    if (OneInAGroup(layer) && width <= 32 && (width & (width - 1)) == 0) {
      return "kwta_f32/tournament";
    }
    return layer.kwta.chunk == 1 && (IsLocal(layer) || layer.kwta.groups == 1)
               ? "kwta_f32/bisection"
               : "kwta_f32/units";
  }
  std::vector<const char*> CostRows() const override {
    return {"kwta_f32/tournament", "kwta_f32/bisection", "kwta_f32/units"};
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use& use, LayerSummary&) const override {
    return std::make_unique<F32Step>(*node.layer, use, use.pools ? node.pool->input.width : 0);
  }
};

class I8Step : public StepOf<I8Step> {
 public:
  I8Step(const Layer& layer, bool writes_map, int32_t zero)
      : elements_(layer.output.elements()), writes_map_(writes_map), zero_(zero) {
    const kernels::KwtaF32Args sizes = KwtaSizesOf(layer);
    args_ = {.positions = sizes.positions,
             .channels = sizes.channels,
             .winners = sizes.winners,
             .groups = sizes.groups,
             .chunk = sizes.chunk,
             .global = sizes.global};
    winner_count = kernels::KwtaCountF32(sizes);
    if (zero != 0) scratch_bytes = elements_;
  }
  void RunPart(const StepIo& io, int64_t, int64_t, int) const noexcept override {
    kernels::KwtaU8Args args = args_;
    args.x = io.X<uint8_t>();
    if (zero_ != 0) {
      kernels::ReluU8(args.x, elements_, static_cast<uint8_t>(zero_), io.scratch);
      args.x = io.scratch;
    }
    args.index_k = io.out.index_k;
    args.value_k = static_cast<uint8_t*>(io.out.value_k);
    kernels::KwtaU8(args);
    if (writes_map_) {
      kernels::ScatterWinnersU8(args.index_k, args.value_k, winner_count, io.Y<uint8_t>(),
                                elements_);
    }
  }

 private:
  kernels::KwtaU8Args args_;
  int64_t elements_;
  bool writes_map_;
  int32_t zero_;
};

constexpr const char* kFold = "kwta_u8/fold";
constexpr const char* kEights = "kwta_u8/eights";
constexpr const char* kScan = "kwta_u8/scan";
constexpr const char* kGeneral = "kwta_u8/general";
constexpr const char* kFew = "kwta_u8/bisection (few)";
constexpr const char* kBisection = "kwta_u8/bisection";

class KwtaU8 final : public Kwta {
 public:
  using Kwta::Kwta;

  Work Count(const Layer& layer, const Use& use, int32_t vector_bytes) const override {
    return CountSpans(layer, use, CostRow(layer, use) == kFew ? 1.0 : double{1} * vector_bytes);
  }
  const char* CostRow(const Layer& layer, const Use&) const override {
    const int32_t width = GroupWidth(layer);
    if (OneInAGroup(layer) && width == 8) return kFold;
    if (OneInAGroup(layer)) return width % 8 == 0 && width <= 256 ? kEights : kScan;
    if (layer.kwta.chunk != 1 || (!IsLocal(layer) && layer.kwta.groups > 1)) return kGeneral;
    return IsLocal(layer) && width < 64 ? kFew : kBisection;
  }
  std::vector<const char*> CostRows() const override {
    return {kFold, kEights, kScan, kGeneral, kFew, kBisection};
  }
  double UnitFactor(std::string_view isa, const char* row) const override {
    const bool avx3 = kernels::IsAvx3(isa);
    if (kernels::IsAvx3Dl(isa)) return 1;
    if (row == kBisection) return avx3 ? 1 : 1.4;  // AVX2: Zen 3
    // A unit is four vectors of floats; this kernel's registers have 128 bits everywhere.
    if (row == kEights) return avx3 ? 1 : isa == "AVX2" ? 0.5 : isa == "SSE4" ? 0.25 : 3.6;
    return row == kFold && !avx3 ? 4 : 1;
  }
  std::unique_ptr<Step> Prepare(const Node& node, const Use& use, LayerSummary&) const override {
    return std::make_unique<I8Step>(*node.layer, use.writes_map, node.input_zero());
  }
};

constexpr KwtaF32 kF32("kwta_f32");
constexpr KwtaU8 kU8("kwta_u8");

constexpr const Kernel* kKernelsF32[] = {&kF32};
constexpr const Kernel* kKernelsI8[] = {&kU8};

}  // namespace

std::span<const Kernel* const> KwtaKernelsF32() { return kKernelsF32; }
std::span<const Kernel* const> KwtaKernelsI8() { return kKernelsI8; }

}  // namespace bisparse::ops
