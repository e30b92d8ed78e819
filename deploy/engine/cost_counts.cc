// SPDX-License-Identifier: Apache-2.0
// What each kernel does for one sample, counted from the layer's shapes. Read first: cost.h. Tested in: cost_test.cc.
#include <algorithm>
#include <cmath>

#include "deploy/engine/cost.h"
#include "deploy/ops/conv/conv_packed_tile.h"

namespace bisparse {
namespace {

using packed::Layer;

constexpr double kLineBytes = 64;

double Ceil(double n, double of) { return std::ceil(n / of); }

/// A layer with weights as the counts below take it.
struct Sizes {
  explicit Sizes(const Layer& layer)
      : layout(layer.kernel(), layer.packing),
        window(layer.window),
        positions(double{1} * layer.output.height * layer.output.width),
        in_positions(double{1} * layer.input.height * layer.input.width),
        padded_positions((layer.input.height + 2.0 * window.pad_h) *
                         (layer.input.width + 2.0 * window.pad_w)),
        taps(double{1} * window.kernel_h * window.kernel_w),
        p(static_cast<double>(layout.positions)),
        o(layout.shape.outputs),
        o16(Ceil(o, 16) * 16),
        sets(layout.sets),
        s(layout.packing.set_size) {}
  /// Vectors of a row of L weights: the widest vector whose lanes divide L.
  double RowVectors(double width) const {
    int32_t lanes = layout.packing.lanes & -layout.packing.lanes;
    return layout.packing.lanes / std::min<double>(width, lanes);
  }
  packed::Layout layout;
  packed::Window window;
  double positions, in_positions, padded_positions, taps, p, o, o16, sets, s;
};

/// Tiles of a row of output columns, and columns of each.
struct Tiles {
  explicit Tiles(int32_t columns)
      : width(kernels::ChooseTileColumns(std::max(columns, 1))), count(Ceil(columns, width)) {}
  double width, count;
};

Work ConvF32(const Layer& layer, const LayerUse& use, double w) {
  const Sizes z(layer);
  const Tiles tiles(layer.output.width);
  const double rows = layer.output.height, vectors = z.RowVectors(w);
  const double in_vectors = z.padded_positions * layer.input.channels / w;
  const double out_vectors = z.positions * z.o / w;
  const double slots = static_cast<double>(use.active_inputs) / z.in_positions;
  const double packed_lines = z.p * z.sets * z.layout.packing.lanes * 4 / kLineBytes;
  const std::string_view k = use.kernel;
  if (k == "conv_dense_f32") {
    return {.units = z.positions * z.p * z.o16 / w,
            .starts = Ceil(z.positions, 6) * Ceil(z.o16, 4 * w) * Ceil(z.p, 64),
            .moved = out_vectors + in_vectors,
            .lines = z.p * z.o16 * 4 / kLineBytes};
  }
  if (k == "conv_packed_f32/lanes") {
    return {.units = z.sets * z.p * vectors * rows * tiles.count * (tiles.width + 1),
            .starts = z.sets * z.s * vectors * rows * tiles.count,
            .moved = out_vectors + in_vectors,
            .lines = packed_lines * 1.5};
  }
  if (k == "conv_packed_f32/columns") {
    const double plane_w = Ceil(layer.input.width + 2.0 * z.window.pad_w, z.window.stride_w);
    const double size = (layer.input.channels <= 8 ? 8 : 4) * w;
    const double passes = Ceil((rows - 1) * plane_w + layer.output.width, size);
    return {.units = z.sets * z.p * passes * size / w,
            .starts = z.o * passes,
            .moved = in_vectors * w + out_vectors * w / 4,
            .lines = packed_lines * 3};
  }
  if (k == "conv_packed_f32/pooled_columns") {
    const double passes = std::floor(rows / 2) * Ceil(std::floor(layer.output.width / 2.0), w);
    return {.units = z.o * Ceil(z.p, z.s) * passes * 4,
            .starts = z.o * passes,
            .moved = in_vectors * (z.window.kernel_w + z.window.stride_w) / 2 + out_vectors / 4,
            .lines = packed_lines * 2};
  }
  if (k == "conv_packed_f32/pooled_lanes") {
    const double width = w < 16 ? 3 : 7, pooled = std::floor(layer.output.width / 2.0);
    const double runs = std::floor(pooled / width) + std::fmod(pooled, width) / 2;
    return {.units = z.sets * z.p * vectors * std::floor(rows / 2) * (pooled * 4 + runs),
            .starts = z.sets * z.s * vectors * std::floor(rows / 2) * runs,
            .moved = out_vectors / 4 + in_vectors,
            .lines = packed_lines * 1.5};
  }
  if (k == "conv_packed_f32/aligned_rows") {
    const double kw = z.window.kernel_w;
    const double entry = tiles.width * kw + (tiles.width + kw - 1) * 2;
    return {.units = z.sets * z.window.kernel_h * slots * vectors * rows * tiles.count * entry,
            .starts = z.sets * z.s * vectors * rows * tiles.count,
            .moved = z.padded_positions * Ceil(slots, 8) + out_vectors,
            .lines = packed_lines};
  }
  if (k == "conv_packed_f32/aligned_taps") {
    return {.units = z.sets * z.taps * slots * vectors * rows * tiles.count * tiles.width * 2,
            .starts = z.sets * z.s * vectors * rows * tiles.count,
            .moved = z.padded_positions * Ceil(slots, 8) + out_vectors,
            .lines = packed_lines};
  }
  // conv_packed_f32/scattered
  return {.units = z.positions * z.taps * slots * z.sets * vectors,
          .starts = z.positions * z.taps * slots,
          .moved = z.positions * z.sets * z.s * z.layout.packing.lanes / w + out_vectors,
          .lines = packed_lines};
}

Work LinearF32(const Layer& layer, const LayerUse& use, double w) {
  const Sizes z(layer);
  const double k = static_cast<double>(use.active_inputs), vectors = z.RowVectors(w);
  const double sums = z.sets * z.s * z.layout.packing.lanes / w;
  if (use.kernel == "linear_dense_f32" || use.kernel == "linear_dense_f32/winners") {
    return {.units = k * z.o16 / w,
            .starts = z.o <= w ? k : Ceil(k, 8),
            .moved = z.o16 / w,
            .lines = k * z.o16 * 4 / kLineBytes};
  }
  const double lines = k * z.sets * z.layout.packing.lanes * 4 / kLineBytes;
  if (use.kernel == "linear_packed_f32/dense") {
    return {
        .units = z.p * z.sets * vectors, .starts = z.sets * z.s * vectors, .lines = lines * 1.5};
  }
  return {.units = k * z.sets * vectors, .starts = k, .moved = 2 * sums, .lines = lines * 1.1};
}

/// conv_taps_i8: the kernels of a block have the same taps.
bool SharesTaps(const Layer& layer, const LayerUse& use) {
  return use.dense_weights || layer.packing.set_size == 1 || layer.packing.lanes == 16;
}

Work ConvI8(const Layer& layer, const LayerUse& use, double w) {
  const Sizes z(layer);
  const double out_vectors = z.positions * z.o16 / w;
  if (use.kernel == "matmul_i8/conv") {
    const double depth = Ceil(z.p, 4) * 4;
    const bool in_place = layer.window == packed::Window{} && layer.input.channels % 4 == 0;
    const double windows = z.positions * (z.window.kernel_h * 2 + depth / (4 * w));
    return {.units = z.positions * depth / 4 * z.o16 / w,
            .starts = Ceil(z.positions, 6) * Ceil(z.o16, 4 * w),
            .moved = (in_place ? 0 : windows) + out_vectors / 4,  // stored by fours
            .lines = depth * z.o16 / kLineBytes};
  }
  if (use.kernel.starts_with("conv_taps_i8")) {
    const bool shared = SharesTaps(layer, use);
    const double taps = use.dense_weights ? z.p : Ceil(z.p, z.s);
    const bool pool = use.kernel == "conv_taps_i8";
    const double single = pool && !shared && std::fmod(taps, 4) == 1 ? 1 : 0;
    const double fours = Ceil(taps - single, 4), windows = pool ? 4 : 1;
    const double rows = std::floor(layer.output.height / (pool ? 2.0 : 1.0));
    const double outputs = rows * std::floor(layer.output.width / (pool ? 2.0 : 1.0));
    const double blocks = Ceil(z.o, 64) * 4;
    return {.units = outputs * blocks * (fours * windows * (shared ? 1 : 2) + single * 5),
            .starts = blocks * rows,
            .moved = outputs * blocks,
            .lines = blocks * fours};
  }
  // conv_quads_i8
  const double slots = static_cast<double>(use.active_inputs) / z.in_positions;
  const double kw = z.window.kernel_w, quads = Ceil(slots, 4);
  if (use.kernel.starts_with("conv_quads_i8/gathered")) {
    // Two rows of outputs in a register that is wider than a block.
    const double lanes = z.layout.packing.lanes, two = lanes < w ? 2 : 1;
    const double entries = z.layout.blocks * Ceil(z.window.kernel_h * slots / z.s, 4);
    const Tiles tiles(layer.output.width);
    const double columns = tiles.width + kw - 1;
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
  if (use.kernel.starts_with("conv_quads_i8/sets")) {
    const double fours = Ceil(z.sets, 4), outputs = fours * 4 * z.s * 16;
    // Lines, unpacks, and load, dot product, store of each set.
    constexpr double kOfQuad = 4 + 8 + 4 * 3;
    return {.units = z.positions * z.window.kernel_h * quads * fours * 16 / w * kOfQuad,
            .starts = z.positions * fours,
            .moved = z.padded_positions * quads + z.positions * outputs / w,
            .lines = z.p * fours};
  }
  const Tiles tiles(layer.output.width);
  const double columns = tiles.width + kw - 1;
  const double entry = tiles.width * kw + columns * (kw == 1 ? 3 : kw + 4);
  return {.units = z.sets * z.window.kernel_h * quads * 16 / w * layer.output.height * tiles.count *
                   entry,
          .starts = z.layout.blocks * 16 / w * layer.output.height * tiles.count,
          .moved = z.padded_positions * quads + out_vectors,
          .lines = z.p * z.sets * 16 / kLineBytes};
}

Work LinearI8(const Layer& layer, const LayerUse& use, double w) {
  const Sizes z(layer);
  if (use.kernel == "matmul_i8/linear") {
    const double depth = Ceil(z.p, 4) * 4;
    return {.units = depth / 4 * z.o16 / w,
            .starts = Ceil(z.o16, 4 * w),
            .moved = z.o16 / w + depth / (4 * w),
            .lines = depth * z.o16 / kLineBytes};
  }
  const double k = static_cast<double>(use.active_inputs);
  const double lanes = z.layout.packing.lanes;
  const bool sparse = z.s > 1;
  const double row = !sparse                           ? z.o16 / w
                     : z.layout.packing.lanes % 4 == 0 ? z.sets * z.RowVectors(w)
                                                       : z.sets * lanes;
  const double bytes = sparse ? z.sets * (lanes + 2) : z.o16;
  return {.units = k * row,
          .starts = k,
          .moved = 2 * (sparse ? z.sets * z.s * lanes : z.o16) / w,
          .lines = k * Ceil(bytes, kLineBytes)};
}

Work DepthwiseWork(const Layer& layer, double w) {
  const double positions = double{1} * layer.output.height * layer.output.width;
  const double vectors = Ceil(layer.input.channels, w);
  const double taps = double{1} * layer.window.kernel_h * layer.window.kernel_w;
  return {.units = positions * taps * vectors,
          .starts = positions * taps * (std::floor(vectors / 4) + std::fmod(vectors, 4)),
          .moved = positions * vectors,
          .lines = taps * vectors};
}

/// `vector`: what a whole vector of channels costs, where the channels behind the last one cost 1 each.
Work PoolWork(const Layer& layer, double w, double vector) {
  const double positions = double{1} * layer.output.height * layer.output.width;
  const double taps = double{1} * layer.window.kernel_h * layer.window.kernel_w;
  const double vectors = std::floor(layer.input.channels / w);
  return {.units = positions * taps * (vectors * vector + std::fmod(layer.input.channels, w)),
          .starts = positions,
          .moved = positions * vectors};
}

/// Rows of the table that k-WTA's name stands for.
std::string_view KwtaRow(const Layer& layer, bool f32) {
  const packed::Kwta& kwta = layer.kwta;
  const bool local = kwta.scope == packed::KwtaScope::kLocal;
  const int32_t width = layer.input.channels / kwta.groups;
  const bool one = local && kwta.chunk == 1 && kwta.winners == kwta.groups;
  if (f32) {
    if (one && width <= 32 && (width & (width - 1)) == 0) return "kwta_f32/tournament";
    return kwta.chunk == 1 && (local || kwta.groups == 1) ? "kwta_f32/bisection" : "kwta_f32/units";
  }
  if (one && width == 8) return "kwta_u8/fold";
  if (one) return width % 8 == 0 && width <= 256 ? "kwta_u8/eights" : "kwta_u8/scan";
  if (kwta.chunk != 1 || (!local && kwta.groups > 1)) return "kwta_u8/general";
  return local && width < 64 ? "kwta_u8/bisection (few)" : "kwta_u8/bisection";
}

/// Spans are what is ranked by itself: groups of a position, or of the map.
Work KwtaWork(const Layer& layer, const LayerUse& use, double w) {
  const packed::Kwta& kwta = layer.kwta;
  const bool local = kwta.scope == packed::KwtaScope::kLocal;
  const double elements = static_cast<double>(layer.input.elements());
  const double in_positions = double{1} * layer.input.height * layer.input.width;
  const double spans = (local ? in_positions : 1) * kwta.groups;
  const double winners = (local ? in_positions : 1) * kwta.winners * kwta.chunk;
  const bool one = local && kwta.chunk == 1 && kwta.winners == kwta.groups;
  if (KwtaRow(layer, use.kernel == "kwta_f32") == "kwta_u8/bisection (few)") w = 1;
  // Bytes behind the last whole vector of a span go one by one.
  const double span = elements / spans / kwta.chunk;
  const double vectors = w > 16 ? std::floor(span / w) + std::fmod(span, w) / 10 : Ceil(span, w);
  return {.units = one ? elements / w : spans * vectors * kwta.chunk,
          .starts = one ? 0 : spans,
          .moved = use.writes_map ? winners : 0};
}

Work CountOwnWork(const Layer& layer, const LayerUse& use, int32_t vector_bytes) {
  const double w = vector_bytes / 4.0;
  const std::string_view k = use.kernel;
  if (k.starts_with("conv_dense_f32") || k.starts_with("conv_packed_f32")) {
    return ConvF32(layer, use, w);
  }
  if (k.starts_with("linear_dense_f32") || k.starts_with("linear_packed_f32")) {
    return LinearF32(layer, use, w);
  }
  if (k == "matmul_i8/conv" || k.starts_with("conv_")) return ConvI8(layer, use, w);
  if (k == "matmul_i8/linear" || k.starts_with("linear_")) return LinearI8(layer, use, w);
  if (k.starts_with("depthwise")) return DepthwiseWork(layer, w);
  if (k.starts_with("kwta")) return KwtaWork(layer, use, k == "kwta_u8" ? 4 * w : w);
  if (k == "avg_pool_u8") return PoolWork(layer, 4 * w, 2.5);
  if (k == "max_pool_u8") return PoolWork(layer, 4 * w, 1);
  if (k.ends_with("pool_f32")) return PoolWork(layer, w, 1);
  const double vectors = Ceil(static_cast<double>(layer.input.elements()), w);
  return {.units = vectors};  // affine, relu
}

/// Times that a kernel goes over its weights, where it does so in blocks of positions.
double WeightPasses(const Layer& layer, const LayerUse& use) {
  const double positions = double{1} * layer.output.height * layer.output.width;
  if (use.kernel == "conv_dense_f32") return Ceil(positions, 96);
  if (use.kernel == "matmul_i8/conv") {
    const double outputs = Ceil(layer.output.channels, 16) * 16;
    return Ceil(positions, std::clamp(16 * 1024 / (4 * outputs), 6.0, 24.0));
  }
  return 1;
}

}  // namespace

std::string_view CostRowName(const Layer& layer, const LayerUse& use) {
  if (use.kernel == "kwta_f32" || use.kernel == "kwta_u8") {
    return KwtaRow(layer, use.kernel == "kwta_f32");
  }
  if (use.kernel.starts_with("linear_i8")) {
    if (layer.packing.set_size == 1) return "linear_i8 (S = 1)";
    if (layer.packing.lanes % 4 != 0) return "linear_i8 (odd L)";
    const packed::Layout layout(layer.kernel(), layer.packing);
    return layer.packing.lanes == 16 && layout.sets % 4 == 0 ? "linear_i8 (four sets)"
                                                             : "linear_i8";
  }
  for (const std::string_view row : {"conv_quads_i8/gathered", "conv_quads_i8/sets"}) {
    if (use.kernel.starts_with(row)) return row;
  }
  if (use.kernel.starts_with("conv_taps_i8")) {
    return SharesTaps(layer, use) ? "conv_taps_i8/shared" : "conv_taps_i8/lanes";
  }
  return use.kernel;
}

int32_t VectorBytes(std::string_view isa) {
  if (isa.starts_with("AVX3")) return 64;
  if (isa == "AVX2") return 32;
  return isa == "SCALAR" ? 4 : 16;
}

Work CountWork(const Layer& layer, const LayerUse& use, int32_t vector_bytes) {
  Work work = CountOwnWork(layer, use, vector_bytes);
  const bool f32 = use.kernel.find("f32") != std::string_view::npos;
  const double maps = (f32 ? 4.0 : 1.0) / kLineBytes *
                      static_cast<double>(layer.input.elements() + layer.output.elements());
  work.near_lines = maps + work.lines * (WeightPasses(layer, use) - 1);
  work.near_bytes = kLineBytes * (maps + work.lines);
  return work;
}

Work CountQuantiseWork(int64_t elements, int32_t vector_bytes) {
  const auto floats = static_cast<double>(elements);
  return {.units = floats * 4 / vector_bytes,
          .near_lines = floats * 5 / kLineBytes,
          .near_bytes = floats * 5};
}

}  // namespace bisparse
