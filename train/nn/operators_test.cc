// SPDX-License-Identifier: Apache-2.0
// Functions of layers without state: values by hand, gradients by central differences in double.
#include "train/nn/operators.h"

#include <gtest/gtest.h>

#include <vector>

#include "deploy/ops/activation/op.h"
#include "train/config/operators.h"
#include "train/nn/join.h"

namespace bisparse::train {
namespace {

using Tensors = std::vector<torch::Tensor>;

LayerConfig LayerOf(LayerKind kind) {
  LayerConfig layer;
  layer.kind = kind;
  layer.dropout = 0.0;
  layer.window = {
      .kernel_h = 2, .kernel_w = 2, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 0};
  return layer;
}

/// Inputs of a layer of this kind: maps of 3×4×5 elements, and for those that repeat one of 1×1 and one of 3×1 more.
Tensors InputsOf(LayerKind kind) {
  const auto draw = [](std::vector<int64_t> sizes) { return torch::randn(sizes, torch::kFloat64); };
  Tensors x;
  x.reserve(4);
  x.push_back(draw({2, 5, 3, 4}));
  if (!OperatorOf(kind).ReadsSeveral()) return x;
  x.push_back(draw({2, 5, 3, 4}));
  if (OperatorOf(kind).shape == ShapeRule::kRepeat) {
    x.push_back(draw({2, 5, 3, 1}));
    x.push_back(draw({2, 5}));
  }
  return x;
}

TEST(Operators, GradientsAreCentralDifferences) {
  int functions = 0;
  for (size_t k = 0; k <= static_cast<size_t>(kLastLayerKind); ++k) {
    const auto kind = static_cast<LayerKind>(k);
    const Function function = FunctionOf(kind);
    if (function == nullptr) continue;
    ++functions;
    SCOPED_TRACE(LayerKindName(kind));
    torch::manual_seed(static_cast<uint64_t>(k) + 1);
    const LayerConfig layer = LayerOf(kind);
    Tensors x = InputsOf(kind);
    for (torch::Tensor& each : x) each.set_requires_grad(true);
    const torch::Tensor y = function(layer, x, /*training=*/true);
    const torch::Tensor direction = torch::randn_like(y);
    (y * direction).sum().backward();
    const torch::NoGradGuard no_grad;
    const auto loss = [&] { return (function(layer, x, true) * direction).sum().item<double>(); };
    constexpr double kStep = 1e-5;
    for (size_t i = 0; i < x.size(); ++i) {
      double* const at = x[i].data_ptr<double>();
      const double* const gradient = x[i].grad().data_ptr<double>();
      for (int64_t e = 0; e < x[i].numel(); ++e) {
        const double value = at[e];
        at[e] = value + kStep;
        const double high = loss();
        at[e] = value - kStep;
        const double low = loss();
        at[e] = value;
        // The third derivative is 0 or below 1, which is 1e-11 of the step; sums of some 100 terms of at most 10 round by 1e-14, over the step 1e-9.
        EXPECT_NEAR(gradient[e], (high - low) / (2 * kStep), 1e-7)
            << "input " << i << ", element " << e;
      }
    }
  }
  EXPECT_EQ(functions, 8 + static_cast<int>(packed::Activations().size()));
}

TEST(Join, RepeatsHeightAndWidthOfOne) {
  const LayerConfig layer;
  const torch::Tensor map = torch::arange(12).to(torch::kFloat32).view({1, 2, 3, 2});
  const torch::Tensor column =
      torch::tensor({10.f, 20.f, 30.f, 40.f, 50.f, 60.f}).view({1, 2, 3, 1});
  const torch::Tensor flat = torch::tensor({100.f, 200.f}).view({1, 2});
  const torch::Tensor sum = AddUp(layer, Tensors{map, column, flat}, false);
  const torch::Tensor product = Multiply(layer, Tensors{map, column, flat}, false);
  ASSERT_EQ(sum.sizes(), map.sizes());
  for (int64_t c = 0; c < 2; ++c) {
    for (int64_t y = 0; y < 3; ++y) {
      for (int64_t x = 0; x < 2; ++x) {
        const auto m = static_cast<float>(c * 6 + y * 2 + x),
                   k = static_cast<float>(10 * (c * 3 + y + 1));
        const auto f = static_cast<float>(100 * (c + 1));
        EXPECT_EQ(sum[0][c][y][x].item<float>(), m + k + f);
        EXPECT_EQ(product[0][c][y][x].item<float>(), m * k * f);
      }
    }
  }
}

TEST(Join, FlatValuesStayFlat) {
  const torch::Tensor a = torch::tensor({1.f, 2.f}).view({1, 2}),
                      b = torch::tensor({3.f, 5.f}).view({1, 2});
  EXPECT_TRUE(
      torch::equal(AddUp({}, Tensors{a, b}, false), torch::tensor({4.f, 7.f}).view({1, 2})));
  EXPECT_TRUE(torch::equal(Concat({}, Tensors{a, b}, false),
                           torch::tensor({1.f, 2.f, 3.f, 5.f}).view({1, 4})));
}

TEST(Join, ConcatKeepsTheOrderOfItsInputs) {
  const torch::Tensor a = torch::full({1, 1, 2, 2}, 1.f), b = torch::full({1, 2, 2, 2}, 2.f);
  const torch::Tensor y = Concat({}, Tensors{b, a}, false);
  ASSERT_EQ(y.sizes(), (torch::IntArrayRef{1, 3, 2, 2}));
  EXPECT_EQ(y[0][1][1][0].item<float>(), 2.f);
  EXPECT_EQ(y[0][2][1][0].item<float>(), 1.f);
}

}  // namespace
}  // namespace bisparse::train
