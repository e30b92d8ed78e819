// SPDX-License-Identifier: Apache-2.0
// Layer norm of maps and of flat values: what it is by its formula, gradients by central differences in double, what the
// network makes of its parameters.
#include "train/nn/layer_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "train/config/load.h"
#include "train/nn/network.h"

namespace bisparse::train {
namespace {

/// With gains and biases that are not those of the beginning.
LayerNorm Make(int32_t channels, double epsilon) {
  LayerConfig config;
  config.kind = LayerKind::kLayerNorm;
  config.input = config.output = {3, 4, channels};
  config.epsilon = epsilon;
  LayerNorm norm(config);
  norm->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  norm->weight.copy_(torch::randn({channels}, torch::kFloat64));
  norm->bias.copy_(torch::randn({channels}, torch::kFloat64));
  return norm;
}

TEST(LayerNorm, NormalisesTheChannelsOfEachPosition) {
  torch::manual_seed(1);
  const torch::NoGradGuard no_grad;
  LayerNorm norm = Make(5, 0.25);
  const torch::Tensor x = torch::randn({2, 5, 3, 4}, torch::kFloat64);
  const torch::Tensor y = norm->forward(x);
  ASSERT_EQ(y.sizes(), x.sizes());
  EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 3; ++h) {
      for (int64_t w = 0; w < 4; ++w) {
        const torch::Tensor x_c = x.index({b, at::indexing::Slice(), h, w});
        const torch::Tensor distance = x_c - x_c.mean();
        const torch::Tensor expected =
            distance / (distance.square().mean() + 0.25).sqrt() * norm->weight + norm->bias;
        EXPECT_TRUE(torch::allclose(y.index({b, at::indexing::Slice(), h, w}), expected));
      }
    }
  }
  // A flat value is one position.
  const torch::Tensor flat = x.select(2, 1).select(2, 2);
  EXPECT_TRUE(torch::allclose(norm->forward(flat), y.select(2, 1).select(2, 2)));
}

TEST(LayerNorm, GradientsAreCentralDifferences) {
  torch::manual_seed(2);
  LayerNorm norm = Make(5, 1e-3);
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{2, 5, 3, 2}, {3, 5}}) {
    norm->zero_grad();
    torch::Tensor x = torch::randn(sizes, torch::kFloat64).set_requires_grad(true);
    const torch::Tensor direction = torch::randn(sizes, torch::kFloat64);
    (norm->forward(x) * direction).sum().backward();
    const torch::NoGradGuard no_grad;
    const auto loss = [&] { return (norm->forward(x) * direction).sum().item<double>(); };
    constexpr double kStep = 1e-5;
    for (torch::Tensor& value : std::vector<torch::Tensor>{x, norm->weight, norm->bias}) {
      ASSERT_TRUE(value.grad().defined());
      double* const at = value.data_ptr<double>();
      const torch::Tensor gradient = value.grad().contiguous();
      for (int64_t e = 0; e < value.numel(); ++e) {
        const double before = at[e];
        at[e] = before + kStep;
        const double high = loss();
        at[e] = before - kStep;
        const double low = loss();
        at[e] = before;
        // The third derivative is of the order of 1 / deviation³, some 1e3 at most here: 1e-7 of the step's square.
        EXPECT_NEAR(gradient.data_ptr<double>()[e], (high - low) / (2 * kStep), 1e-6)
            << "element " << e;
      }
    }
  }
}

TEST(LayerNorm, ItsParametersAreLearnedWithoutDecayAndExported) {
  const Config config = ParseConfig(R"(
data: {type: npy, train_x: x, train_y: y, input: [4, 4, 2], class_names: [a, b, c]}
network:
  - conv2d: {channels: 6, kernel: 3}
  - layer_norm: {name: norm}
  - flatten
  - linear: {units: classes}
)",
                                    "norm.yaml");
  torch::manual_seed(3);
  Network network(config.network, config.seed);
  const auto parameters = network->named_parameters();
  const torch::Tensor gain = parameters["norm.weight"], bias = parameters["norm.bias"];
  const auto holds = [](const std::vector<torch::Tensor>& list, const torch::Tensor& parameter) {
    return std::any_of(list.begin(), list.end(),
                       [&](const torch::Tensor& each) { return each.is_same(parameter); });
  };
  for (const torch::Tensor& parameter : {gain, bias}) {
    EXPECT_TRUE(holds(network->OtherParameters(), parameter));
    EXPECT_FALSE(holds(network->DecayedParameters(), parameter));
  }
  EXPECT_TRUE(torch::equal(gain, torch::ones({6})));
  EXPECT_TRUE(torch::equal(bias, torch::zeros({6})));
  const TrainedLayer layer = network->TrainedLayers()[1];
  EXPECT_TRUE(torch::equal(layer.scale_c, gain));
  EXPECT_TRUE(torch::equal(layer.shift_c, bias));
}

}  // namespace
}  // namespace bisparse::train
