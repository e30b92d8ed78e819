// SPDX-License-Identifier: Apache-2.0
// Packed convolutions on the shapes of the speech network: time, multiply-adds and bytes of
// weights. macs/cycle against the core's peak (32 a cycle with AVX-512 on most cores of 2023) is
// the share of the roofline.
#include <benchmark/benchmark.h>

#include "deploy/base/aligned_buffer.h"
#include "deploy/ops/conv/conv_packed.h"
#include "deploy/ops/conv/conv_packed_prepare.h"
#include "deploy/ops/kwta/kwta.h"

namespace bisparse::kernels {
namespace {

struct Network {
  Shape input, output;
  packed::Window window;
  packed::Packing packing;
  int32_t winners, groups;
};

const Network kNetworks[] = {
    // conv1 of the paper, of the aligned network, conv2 of both, conv2 with aligned taps
    {{32, 32, 1}, {28, 28, 64}, {.kernel_h = 5, .kernel_w = 5}, {.set_size = 3, .lanes = 1}, 1, 1},
    {{32, 32, 1}, {28, 28, 64}, {.kernel_h = 5, .kernel_w = 5}, {.set_size = 4, .lanes = 16}, 1, 1},
    {{14, 14, 64}, {10, 10, 64}, {.kernel_h = 5, .kernel_w = 5}, {.set_size = 8, .lanes = 1}, 8, 1},
    {{14, 14, 64},
     {10, 10, 64},
     {.kernel_h = 5, .kernel_w = 5},
     {.set_size = 4, .lanes = 16, .run = {.channels = 8, .taps = packed::RunTaps::kRow}},
     8,
     8},
    {{14, 14, 64},
     {10, 10, 64},
     {.kernel_h = 5, .kernel_w = 5},
     {.set_size = 4, .lanes = 16, .run = {.channels = 8, .taps = packed::RunTaps::kOne}},
     8,
     8},
    {{14, 14, 64},
     {10, 10, 64},
     {.kernel_h = 5, .kernel_w = 5},
     {.set_size = 4, .lanes = 16},
     8,
     8},
    {{14, 14, 64},
     {10, 10, 64},
     {.kernel_h = 5, .kernel_w = 5},
     {.set_size = 1, .lanes = 16},
     8,
     1},
};

/// Fixed pseudo-random numbers: the same work on every machine.
uint32_t Next(uint32_t& state) { return state = state * 1664525u + 1013904223u; }
float NextFloat(uint32_t& state) { return static_cast<float>(Next(state) >> 8) * 0x1p-23f - 1.0f; }

struct Layer {
  explicit Layer(const Network& net)
      : layout({.outputs = net.output.channels,
                .channels = net.input.channels,
                .kernel_h = net.window.kernel_h,
                .kernel_w = net.window.kernel_w},
               net.packing),
        owner_nr(static_cast<size_t>(layout.owners())),
        weight_pnl(static_cast<size_t>(layout.slots())),
        bias_o(static_cast<size_t>(layout.outputs_padded())),
        x(static_cast<size_t>(net.input.elements())),
        y(static_cast<size_t>(net.output.elements())) {
    uint32_t state = 1;
    for (size_t i = 0; i < owner_nr.size(); ++i) {
      const auto n = static_cast<int32_t>(static_cast<int64_t>(i) / layout.runs);
      owner_nr[i] =
          static_cast<uint8_t>((Next(state) >> 16) % static_cast<uint32_t>(layout.BlocksOfSet(n)));
    }
    for (float& weight : weight_pnl) weight = NextFloat(state);
    for (float& value : x) value = NextFloat(state);
  }
  packed::Layout layout;
  std::vector<uint8_t> owner_nr;
  AlignedBuffer<float> weight_pnl, bias_o, x, y;  // as in a mapped model: 64-byte lines
};

void Report(benchmark::State& state, const PreparedConv& conv, const Layer& layer) {
  state.SetLabel(ConvPackedFormName(conv.plan.form));
  state.counters["macs"] = static_cast<double>(conv.macs_per_map);
  state.counters["macs/s"] = benchmark::Counter(static_cast<double>(conv.macs_per_map),
                                                benchmark::Counter::kIsIterationInvariantRate);
  state.counters["weight_bytes"] = static_cast<double>(layer.weight_pnl.size() * sizeof(float));
}

void BM_ConvPackedDenseF32(benchmark::State& state) {
  const Network& net = kNetworks[state.range(0)];
  Layer layer(net);
  const PreparedConv conv =
      PrepareConvPackedDenseF32(layer.layout, net.window, net.input, net.output, layer.owner_nr,
                                layer.weight_pnl.span(), layer.bias_o.span());
  AlignedBuffer<float> scratch(static_cast<size_t>(ConvPackedScratchFloats(conv.plan)));
  const ConvPackedDenseF32Args args{.plan = conv.plan,
                                    .input = layer.x.data(),
                                    .output = layer.y.data(),
                                    .output_stride = net.output.channels,
                                    .row_end = net.output.height,
                                    .scratch = scratch.data()};
  for (auto _ : state) {
    ConvPackedDenseF32(args);
    benchmark::ClobberMemory();
  }
  Report(state, conv, layer);
}
BENCHMARK(BM_ConvPackedDenseF32)->DenseRange(0, 3);

void BM_ConvPackedWinnersF32(benchmark::State& state) {
  const Network& net = kNetworks[state.range(0)];
  Layer layer(net);
  KwtaF32Args kwta{.x = layer.x.data(),
                   .positions = net.input.height * net.input.width,
                   .channels = net.input.channels,
                   .winners = net.winners,
                   .groups = net.groups};
  const int64_t count = KwtaCountF32(kwta);
  std::vector<int32_t> index_k(static_cast<size_t>(count + kKwtaSlack));
  std::vector<float> value_k(index_k.size()),
      kwta_scratch(static_cast<size_t>(KwtaScratchFloats(kwta)));
  kwta.index_k = index_k.data();
  kwta.value_k = value_k.data();
  kwta.scratch = kwta_scratch.data();
  KwtaF32(kwta);
  const PreparedConv conv =
      PrepareConvPackedWinnersF32(layer.layout, net.window, net.input, net.output,
                                  {.per_position = net.winners, .groups = net.groups},
                                  layer.owner_nr, layer.weight_pnl.span(), layer.bias_o.span());
  AlignedBuffer<float> scratch(static_cast<size_t>(ConvPackedScratchFloats(conv.plan)));
  const ConvPackedWinnersF32Args args{.plan = conv.plan,
                                      .winners = {.index_k = index_k.data(),
                                                  .value_k = value_k.data(),
                                                  .count = count,
                                                  .per_position = net.winners},
                                      .output = layer.y.data(),
                                      .output_stride = net.output.channels,
                                      .row_end = net.output.height,
                                      .scratch = scratch.data()};
  for (auto _ : state) {
    ConvPackedWinnersF32(args);
    benchmark::ClobberMemory();
  }
  Report(state, conv, layer);
}
BENCHMARK(BM_ConvPackedWinnersF32)->DenseRange(2, 6);

}  // namespace
}  // namespace bisparse::kernels
