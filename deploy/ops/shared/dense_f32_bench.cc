// SPDX-License-Identifier: Apache-2.0
// Times the dense kernels on the paper's topology and on one large linear layer. "macs" a second
// against the peak of the core (vectors · lanes · clock) is the share of the roofline; for one
// sample of a linear layer it is bytes a second against memory's.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "deploy/ops/conv/conv_dense_f32.h"
#include "deploy/ops/linear/linear_dense_f32.h"

namespace bisparse::kernels {
namespace {

std::vector<float> Normals(int64_t n) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(engine);
  return values;
}

void BM_ConvDense(benchmark::State& state) {
  const auto size = static_cast<int32_t>(state.range(0));
  const auto kernel = static_cast<int32_t>(state.range(3));
  const ConvDenseShape s{.in_h = size,
                         .in_w = size,
                         .channels = static_cast<int32_t>(state.range(1)),
                         .kernel_h = kernel,
                         .kernel_w = kernel,
                         .outputs = static_cast<int32_t>(state.range(2))};
  const std::vector<float> x = Normals(s.padded_elements()), bias = Normals(s.outputs_padded()),
                           weight = Normals(s.positions() * s.outputs_padded());
  std::vector<int32_t> offset_p(static_cast<size_t>(s.positions()));
  ConvDenseOffsets(s, offset_p.data());
  std::vector<float> y(static_cast<size_t>(s.out_positions() * s.outputs));
  for (auto _ : state) {
    ConvDenseF32(s, x.data(), offset_p.data(), weight.data(), bias.data(), true, 0,
                 s.out_positions(), y.data());
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const auto macs = static_cast<double>(s.out_positions() * s.positions() * s.outputs);
  state.counters["macs"] = benchmark::Counter(macs, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_ConvDense)
    ->ArgNames({"size", "channels", "outputs", "kernel"})
    ->Args({32, 1, 64, 5})
    ->Args({14, 64, 64, 5})
    ->Args({58, 64, 64, 3})
    ->Args({14, 256, 1024, 1});

void BM_LinearDense(benchmark::State& state) {
  const LinearDenseShape s{.inputs = state.range(0), .outputs = state.range(1)};
  const int64_t batch = state.range(2);
  const std::vector<float> x = Normals(s.inputs * batch), bias = Normals(s.outputs_padded()),
                           weight = Normals(s.inputs * s.outputs_padded());
  std::vector<float> y(static_cast<size_t>(s.outputs * batch));
  for (auto _ : state) {
    LinearDenseF32(s, x.data(), batch, weight.data(), bias.data(), true, y.data());
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const auto macs = static_cast<double>(s.inputs * s.outputs * batch);
  state.counters["macs"] = benchmark::Counter(macs, benchmark::Counter::kIsIterationInvariantRate);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(weight.size() * 4));
}
BENCHMARK(BM_LinearDense)
    ->ArgNames({"inputs", "outputs", "batch"})
    ->Args({1600, 1500, 1})
    ->Args({1600, 1500, 16})
    ->Args({1500, 12, 1})
    ->Args({4096, 4096, 1});

}  // namespace
}  // namespace bisparse::kernels
