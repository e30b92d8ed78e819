// SPDX-License-Identifier: Apache-2.0
// Packed linear layers, dense input and winners, against the formula in double on every instruction
// set.
#include <gtest/gtest.h>

#include "deploy/base/test_seed.h"
#include "deploy/ops/linear/linear_packed.h"
#include "deploy/ops/linear/linear_packed_prepare.h"
#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

void Compare(const RandomLayer& layer, const float* x, const float* y, const char* what) {
  const Shape input{1, 1, layer.layout.shape.channels};
  for (int32_t o = 0; o < layer.layout.shape.outputs; ++o) {
    const Exact exact = ExactOutput(layer, {}, input, x, 0, 0, o);
    ASSERT_NEAR(y[o], exact.value, exact.bound) << what << ", output " << o;
  }
}

void CheckDense(const RandomLayer& layer, const std::vector<float>& x, int64_t batch, int64_t gap) {
  const packed::Layout& layout = layer.layout;
  const PackedLists lists = PrepareLinearPackedDenseF32(layout, layer.owner_nr, layer.weight_pnl);
  const int32_t outputs = layout.shape.outputs, inputs = layout.shape.channels;
  LinearPackedDenseF32Args args{.inputs = inputs,
                                .outputs = outputs,
                                .set_size = layout.packing.set_size,
                                .lanes = layout.packing.lanes,
                                .sets = layout.sets,
                                .weight = lists.WeightBase(layer.weight_pnl.data()),
                                .bias_o = layer.bias_o.data(),
                                .begin_b = lists.begin_b.data(),
                                .input_e = lists.input_e.data(),
                                .weight_e = lists.weight_e.data(),
                                .batch = batch,
                                .input = x.data(),
                                .input_stride = inputs,
                                .output_stride = outputs + gap};
  Guarded<float> y(batch * args.output_stride - gap);
  args.output = y.data();
  LinearPackedDenseF32(args);
  ASSERT_TRUE(y.Intact());
  Guarded<float> one(outputs);
  for (int64_t i = 0; i < batch; ++i) {
    Compare(layer, x.data() + i * inputs, y.data() + i * args.output_stride, "dense");
    args.batch = 1;
    args.input = x.data() + i * inputs;
    args.output = one.data();
    LinearPackedDenseF32(args);
    for (int32_t o = 0; o < outputs; ++o)
      ASSERT_EQ(one[o], y[i * args.output_stride + o]) << "batch, output " << o;
    for (int64_t o = outputs; o < args.output_stride && i + 1 < batch; ++o) {
      ASSERT_EQ(y[i * args.output_stride + o], -12345.0f) << "between samples";
    }
  }
}

void CheckWinners(const RandomLayer& layer, std::vector<float> x, Random& random) {
  const packed::Layout& layout = layer.layout;
  const PackedLists lists = PrepareLinearPackedWinnersF32(layout, layer.owner_nr);
  std::vector<int32_t> index_k;
  std::vector<float> value_k;
  x.resize(static_cast<size_t>(layout.shape.channels));
  for (int32_t i = 0; i < layout.shape.channels; ++i) {
    if (random.Int(0, 3)) {
      x[static_cast<size_t>(i)] = 0.0f;
    } else {
      index_k.push_back(i);
      value_k.push_back(x[static_cast<size_t>(i)]);
    }
  }
  Guarded<float> y(layout.shape.outputs);
  Guarded<float> scratch(
      LinearPackedScratchFloats(layout.packing.set_size, layout.packing.lanes, layout.sets));
  LinearPackedWinnersF32({.inputs = layout.shape.channels,
                          .outputs = layout.shape.outputs,
                          .set_size = layout.packing.set_size,
                          .lanes = layout.packing.lanes,
                          .sets = layout.sets,
                          .weight_pnl = layer.weight_pnl.data(),
                          .bias_o = layer.bias_o.data(),
                          .owner_pn = lists.owner_pn.empty() ? nullptr : lists.owner_pn.data(),
                          .winners = {.index_k = index_k.data(),
                                      .value_k = value_k.data(),
                                      .count = static_cast<int64_t>(index_k.size())},
                          .output = y.data(),
                          .scratch = scratch.data()});
  ASSERT_TRUE(y.Intact() && scratch.Intact());
  Compare(layer, x.data(), y.data(), "winners");
}

void Check(const packed::KernelShape& shape, const packed::Packing& packing, int64_t batch,
           Random& random) {
  const RandomLayer layer(shape, packing, random);
  SCOPED_TRACE(layer.Text() + ", batch " + std::to_string(batch));
  const std::vector<float> x = random.Normals(batch * shape.channels);
  CheckDense(layer, x, batch, random.Int(0, 3));
  CheckWinners(layer, x, random);
}

TEST(LinearPackedF32, EveryWidth) {
  ForEachIsa([] {
    Random random(1);
    for (int32_t outputs = 1; outputs <= 67; ++outputs) {  // L = 16: one or two sets
      for (const int32_t lanes : {1, 3, 4, 16}) {
        Check({.outputs = outputs, .channels = 40 + outputs}, {.set_size = 3, .lanes = lanes}, 3,
              random);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(LinearPackedF32, EveryNumberOfSets) {
  ForEachIsa([] {
    Random random(2);
    for (int32_t sets = 1; sets <= 9; ++sets) {
      Check({.outputs = 32 * sets, .channels = 100}, {.set_size = 2, .lanes = 16}, 3, random);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(LinearPackedF32, RandomShapes) {
  const TestSeed seed;
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 150; ++trial) {
      Check({.outputs = random.Int(1, 150), .channels = random.Int(1, 300)},
            {.set_size = random.Int(0, 3) ? random.Int(1, 30) : 1,
             .lanes = random.Int(1, 16),
             .run = {.channels = random.Int(1, 9)}},
            random.Int(1, 9), random);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(LinearPackedF32, NoWinnersGiveTheBias) {
  Random random(2);
  const RandomLayer layer({.outputs = 20, .channels = 8}, {.set_size = 2, .lanes = 16}, random);
  const PackedLists lists = PrepareLinearPackedWinnersF32(layer.layout, layer.owner_nr);
  std::vector<float> y(20), scratch(64);
  LinearPackedWinnersF32({.inputs = 8,
                          .outputs = 20,
                          .set_size = 2,
                          .lanes = 16,
                          .sets = layer.layout.sets,
                          .weight_pnl = layer.weight_pnl.data(),
                          .bias_o = layer.bias_o.data(),
                          .owner_pn = lists.owner_pn.data(),
                          .winners = {},
                          .output = y.data(),
                          .scratch = scratch.data()});
  for (size_t o = 0; o < y.size(); ++o) EXPECT_EQ(y[o], layer.bias_o[o]);
}

}  // namespace
}  // namespace bisparse::kernels
