// SPDX-License-Identifier: Apache-2.0
// Packed linear layers of the speech network: 1600 → 1500.
#include <benchmark/benchmark.h>

#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/ops/linear/linear_packed.h"
#include "deploy/ops/linear/linear_packed_prepare.h"

namespace bisparse::kernels {
namespace {

struct Layer {
  Layer(int32_t set_size, int32_t lanes)
      : layout({.outputs = 1500, .channels = 1600}, {.set_size = set_size, .lanes = lanes}),
        owner_nr(static_cast<size_t>(layout.owners())),
        weight_pnl(static_cast<size_t>(layout.slots())),
        bias_o(static_cast<size_t>(layout.outputs_padded())) {
    uint32_t state = 1;
    for (size_t i = 0; i < owner_nr.size(); ++i) {
      state = state * 1664525u + 1013904223u;
      const auto n = static_cast<int32_t>(static_cast<int64_t>(i) / layout.runs);
      owner_nr[i] =
          static_cast<uint8_t>((state >> 16) % static_cast<uint32_t>(layout.BlocksOfSet(n)));
    }
  }
  packed::Layout layout;
  std::vector<uint8_t> owner_nr;
  AlignedBuffer<float> weight_pnl, bias_o;  // as in a mapped model: 64-byte lines
};

/// Arguments: S, L, batch.
void BM_LinearPackedDenseF32(benchmark::State& state) {
  const Layer layer(static_cast<int32_t>(state.range(0)), static_cast<int32_t>(state.range(1)));
  const int64_t batch = state.range(2);
  const PackedLists lists =
      PrepareLinearPackedDenseF32(layer.layout, layer.owner_nr, layer.weight_pnl.span());
  std::vector<float> x(static_cast<size_t>(batch) * 1600, 1.0f),
      y(static_cast<size_t>(batch) * 1500);
  const LinearPackedDenseF32Args args{.inputs = 1600,
                                      .outputs = 1500,
                                      .set_size = layer.layout.packing.set_size,
                                      .lanes = layer.layout.packing.lanes,
                                      .sets = layer.layout.sets,
                                      .weight = lists.WeightBase(layer.weight_pnl.data()),
                                      .bias_o = layer.bias_o.data(),
                                      .begin_b = lists.begin_b.data(),
                                      .input_e = lists.input_e.data(),
                                      .weight_e = lists.weight_e.data(),
                                      .batch = batch,
                                      .input = x.data(),
                                      .input_stride = 1600,
                                      .output = y.data(),
                                      .output_stride = 1500};
  for (auto _ : state) {
    LinearPackedDenseF32(args);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * batch * layer.layout.slots());
  state.SetBytesProcessed(state.iterations() * layer.layout.slots() * 4);
}
BENCHMARK(BM_LinearPackedDenseF32)->Args({16, 16, 1})->Args({16, 16, 16})->Args({25, 1, 1});

/// Arguments: S, L; every eighth input wins.
void BM_LinearPackedWinnersF32(benchmark::State& state) {
  const Layer layer(static_cast<int32_t>(state.range(0)), static_cast<int32_t>(state.range(1)));
  const PackedLists lists = PrepareLinearPackedWinnersF32(layer.layout, layer.owner_nr);
  std::vector<int32_t> index_k;
  for (int32_t i = 0; i < 1600; i += 8) index_k.push_back(i);
  const std::vector<float> value_k(index_k.size(), 1.0f);
  AlignedBuffer<float> y(1500), scratch(static_cast<size_t>(layer.layout.outputs_padded()));
  const LinearPackedWinnersF32Args args{.inputs = 1600,
                                        .outputs = 1500,
                                        .set_size = layer.layout.packing.set_size,
                                        .lanes = layer.layout.packing.lanes,
                                        .sets = layer.layout.sets,
                                        .weight_pnl = layer.weight_pnl.data(),
                                        .bias_o = layer.bias_o.data(),
                                        .owner_pn = lists.owner_pn.data(),
                                        .winners = {.index_k = index_k.data(),
                                                    .value_k = value_k.data(),
                                                    .count = static_cast<int64_t>(index_k.size())},
                                        .output = y.data(),
                                        .scratch = scratch.data()};
  for (auto _ : state) {
    LinearPackedWinnersF32(args);
    benchmark::ClobberMemory();
  }
  const int64_t row = int64_t{layer.layout.sets} * layer.layout.packing.lanes;
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(index_k.size()) * row);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(index_k.size()) * row * 4);
}
BENCHMARK(BM_LinearPackedWinnersF32)->Args({16, 16})->Args({25, 1});

}  // namespace
}  // namespace bisparse::kernels
