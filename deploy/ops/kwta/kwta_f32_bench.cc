// SPDX-License-Identifier: Apache-2.0
// k-WTA on the maps of the speech network.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "deploy/ops/kwta/kwta.h"

namespace bisparse::kernels {
namespace {

const KwtaF32Args kCases[] = {
    {.positions = 196, .channels = 64, .winners = 8, .groups = 8},  // one winner in each group of 8
    {.positions = 196, .channels = 64, .winners = 8},               // 8 of 64 at each position
    {.positions = 25, .channels = 64, .winners = 200, .global = true},  // 12.5 % of a small map
    {.positions = 1, .channels = 1500, .winners = 150, .global = true},
    {.positions = 196, .channels = 128, .winners = 3136, .global = true},
};

void BM_KwtaF32(benchmark::State& state) {
  KwtaF32Args args = kCases[state.range(0)];
  std::vector<float> x(static_cast<size_t>(args.positions) * args.channels);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * i % 9973));
  args.x = x.data();
  std::vector<int32_t> index_k(static_cast<size_t>(KwtaCountF32(args) + kKwtaSlack));
  std::vector<float> value_k(index_k.size()), scratch(static_cast<size_t>(KwtaScratchFloats(args)));
  args.index_k = index_k.data();
  args.value_k = value_k.data();
  args.scratch = scratch.data();
  for (auto _ : state) {
    KwtaF32(args);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(x.size() * sizeof(float)));
}
BENCHMARK(BM_KwtaF32)->DenseRange(0, 4);

}  // namespace
}  // namespace bisparse::kernels
