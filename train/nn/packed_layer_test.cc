// SPDX-License-Identifier: Apache-2.0
// Packed layers in training against LibTorch's dense operations on masked weights in double; the same bits for any number of
// threads; a step of the optimiser after packing as before.
#include "train/nn/packed_layer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>

#include "train/config/load.h"
#include "train/nn/network.h"

namespace bisparse::train {
namespace {

LayerConfig MakeLayer(const std::string& input, const std::string& layer) {
  const Config config =
      ParseConfig("data:\n  type: npy\n  train_x: x.npy\n  train_y: y.npy\n  input: " + input +
                      "\n  class_names: [a, b, c]\nnetwork:\n  - " + layer +
                      "\n  - flatten\n  - linear: {units: classes}\n",
                  "test.yaml");
  return config.network.layers[0];
}

struct Case {
  const char* input;
  const char* layer;
};
constexpr Case kCases[] = {
    {"[9, 8, 7]", "conv2d: {channels: 13, kernel: 3, packing: {set_size: 2, lanes: 4}}"},
    {"[9, 8, 8]",
     "conv2d: {channels: 64, kernel: 5, padding: 2, packing: {set_size: 4, lanes: 16, "
     "run: {channels: 4, taps: row}}}"},
    {"[7, 9, 3]",
     "conv2d: {channels: 10, kernel: [3, 2], stride: [2, 1], padding: [1, 0], "
     "packing: {set_size: 3, lanes: 1}}"},
    {"[1, 1, 40]", "linear: {units: 50, packing: {set_size: 4, lanes: 8}}"},
    {"[1, 1, 30]", "linear: {units: 33, bias: false, packing: {set_size: 2, lanes: 16}}"},
};

torch::Tensor RandomInput(const LayerConfig& layer, int64_t batch, bool gated) {
  torch::Tensor x =
      torch::randn({batch, layer.input.height, layer.input.width, layer.input.channels});
  if (gated) x = x.abs() * torch::rand_like(x).lt(0.2);
  return x.permute({0, 3, 1, 2});
}

/// y and the gradients of x, weight and bias.
struct Result {
  torch::Tensor y, dx, dweight_op, dbias;
};

/// LibTorch's, in double. Of absolute values: what the products add up to in size.
Result Masked(PackedWeight& layer, const torch::Tensor& mask, const torch::Tensor& x,
              const torch::Tensor& dy, bool absolute) {
  const auto make = [&](const torch::Tensor& t) {
    return (absolute ? t.abs() : t).detach().to(torch::kFloat64);
  };
  torch::Tensor input = make(x).requires_grad_(), bias;
  torch::Tensor weight = make(layer->weight).requires_grad_();
  if (layer->bias.defined()) bias = make(layer->bias).requires_grad_();
  const torch::Tensor w = weight * mask.to(torch::kFloat64);
  Result r;
  if (weight.dim() == 2) {
    r.y = torch::linear(input.permute({0, 2, 3, 1}).reshape({input.size(0), -1}), w, bias);
  } else {
    const packed::Window& window = layer->config().window;
    r.y = torch::conv2d(input, w, bias, {window.stride_h, window.stride_w},
                        {window.pad_h, window.pad_w}, {window.dilation_h, window.dilation_w});
  }
  r.y.backward(make(dy));
  r.dx = input.grad();
  r.dweight_op = (weight.grad() * mask).view({weight.size(0), -1});
  if (bias.defined()) r.dbias = bias.grad();
  return r;
}

/// `products`: most of one sum.
void ExpectNear(const torch::Tensor& got, const torch::Tensor& want, const torch::Tensor& size,
                int64_t products, const char* what) {
  const torch::Tensor bound = static_cast<double>(products + 1) * 0x1p-24 * size.abs() + 1e-300;
  const torch::Tensor far = (got.to(torch::kFloat64) - want).abs() / bound;
  EXPECT_LE(far.max().item<double>(), 1.0) << what;
}

TEST(PackedLayer, IsTheMaskedLayer) {
  torch::manual_seed(1);
  for (const Case& c : kCases) {
    for (const bool gated : {false, true}) {
      SCOPED_TRACE(std::string(c.layer) + (gated ? ", gated" : ""));
      const LayerConfig config = MakeLayer(c.input, c.layer);
      PackedWeight layer(config, 5);
      if (layer->bias.defined()) {
        torch::NoGradGuard no_grad;
        layer->bias.uniform_(-1, 1);
      }
      const torch::Tensor mask =
          MaskFromOwners(layer->layout(), layer->Owners()).view(layer->weight.sizes());
      const torch::Tensor x = RandomInput(config, 5, gated);
      const torch::Tensor dy = torch::randn_like(layer->forward(x));
      const Result want = Masked(layer, mask, x, dy, false);
      const Result size = Masked(layer, mask, x, dy, true);

      const torch::Tensor dense = layer->weight.detach().clone();
      layer->SetGated(gated);
      const PackedWeightImpl::Repack repack = layer->Pack();
      ASSERT_TRUE(layer->IsPacked());
      EXPECT_TRUE(torch::equal(repack(dense), layer->weight));
      EXPECT_TRUE(torch::equal(layer->MaskedWeight(), (dense * mask).view({mask.size(0), -1})));
      const torch::Tensor input = x.detach().clone().requires_grad_();
      const torch::Tensor y = layer->forward(input);
      ASSERT_EQ(y.sizes(), dy.sizes());
      y.backward(dy);
      const packed::Layout& layout = layer->layout();
      const int64_t places = dy.numel() / dy.size(1), outputs = dy.size(1);
      ExpectNear(y.detach(), want.y.detach(), size.y.detach(), layout.positions + 1, "y");
      ExpectNear(UnpackTensor(layout, layer->Owners(), layer->weight.grad()), want.dweight_op,
                 size.dweight_op, places, "dweight");
      const torch::Tensor passes = gated ? x.ne(0).to(torch::kFloat64) : torch::ones_like(want.dx);
      ExpectNear(input.grad(), want.dx * passes, size.dx, outputs * layout.positions, "dx");
      if (layer->bias.defined()) {
        ExpectNear(layer->bias.grad(), want.dbias, size.dbias, places, "dbias");
      }
      layer->Unpack();
      EXPECT_TRUE(torch::equal(layer->weight, dense * mask + 0.0));
    }
  }
}

TEST(PackedLayer, SameBitsForAnyNumberOfThreads) {
  torch::manual_seed(2);
  const int threads_before = at::get_num_threads();
  for (const Case& c : kCases) {
    for (const bool gated : {false, true}) {
      SCOPED_TRACE(std::string(c.layer) + (gated ? ", gated" : ""));
      const LayerConfig config = MakeLayer(c.input, c.layer);
      PackedWeight layer(config, 5);
      layer->SetGated(gated);
      layer->Pack();
      const torch::Tensor x = RandomInput(config, 33, gated).detach();
      torch::Tensor dy;
      std::vector<torch::Tensor> first;
      for (const int threads : {1, 2, 3, 7}) {
        at::set_num_threads(threads);
        const torch::Tensor input = x.clone().requires_grad_();
        layer->zero_grad();
        const torch::Tensor y = layer->forward(input);
        if (!dy.defined()) dy = torch::randn_like(y);
        y.backward(dy);
        std::vector<torch::Tensor> now = {y.detach(), input.grad(), layer->weight.grad().clone()};
        if (layer->bias.defined()) now.push_back(layer->bias.grad().clone());
        if (first.empty()) first = now;
        for (size_t i = 0; i < now.size(); ++i) {
          EXPECT_TRUE(torch::equal(first[i], now[i])) << "tensor " << i << ", threads " << threads;
        }
      }
    }
  }
  at::set_num_threads(threads_before);
}

/// The pool between them hands gradients to zeros; k-WTA stops them.
constexpr char kNetwork[] = R"(
  - conv2d: {channels: 16, kernel: 3, packing: {set_size: 2, lanes: 8}}
  - batch_norm
  - kwta: {winners: 4, groups: 2}
  - max_pool: {kernel: 2}
  - conv2d: {channels: 32, kernel: 3, padding: 1, packing: {set_size: 4, lanes: 8}}
  - batch_norm
  - max_pool: {kernel: 2}
  - kwta: {winners: 20, scope: global}
  - flatten
  - linear: {units: 40, packing: {set_size: 4, lanes: 4}}
  - batch_norm
  - relu
  - linear: {units: classes}
)";

Config NetworkOf(const char* layers) {
  return ParseConfig(
      "data:\n  type: npy\n  train_x: x.npy\n  train_y: y.npy\n  input: [14, 14, 1]\n"
      "  class_names: [a, b, c]\nnetwork:\n" +
          std::string(layers),
      "test.yaml");
}

TEST(PackedNetwork, TrainsAsTheMaskedOne) {
  const Config config = NetworkOf(kNetwork);
  std::vector<torch::Tensor> losses, weights;
  for (const bool packed : {false, true}) {
    torch::manual_seed(3);
    Network network(config.network, config.seed);
    network->SetEpoch(0, 1);
    std::vector<LayerWay> ways = LayersWithWays(config.network);
    ASSERT_EQ(ways.size(), 6u);
    for (LayerWay& way : ways) way.packed = packed;
    network->SetWays(ways);
    int packed_layers = 0;
    network->PackFixedOwners(0.0, [&](const torch::Tensor&, const auto&) { ++packed_layers; });
    EXPECT_EQ(packed_layers, packed ? 3 : 0);
    torch::optim::AdamW optimiser(network->parameters(), torch::optim::AdamWOptions(0.01));
    std::vector<double> history;
    torch::manual_seed(4);
    for (int step = 0; step < 12; ++step) {
      const torch::Tensor x = torch::randn({16, 14, 14, 1});
      const torch::Tensor y = x.sum({1, 2, 3}).gt(0).to(torch::kInt64);
      optimiser.zero_grad();
      const torch::Tensor loss = torch::cross_entropy_loss(network->forward(x), y);
      loss.backward();
      optimiser.step();
      history.push_back(loss.item<double>());
    }
    losses.push_back(torch::tensor(history));
    network->Unpack();
    weights.push_back(network->TrainedLayers()[4].weight_op);
  }
  // Rounding grows from step to step, and near ties of k-WTA may fall otherwise.
  EXPECT_LE((losses[0] - losses[1]).abs().slice(0, 0, 3).max().item<double>(), 1e-4)
      << losses[0] << losses[1];
  EXPECT_LE((losses[0] - losses[1]).abs().max().item<double>(), 0.05) << losses[0] << losses[1];
  EXPECT_TRUE(torch::equal(weights[0].ne(0), weights[1].ne(0)));
}

}  // namespace
}  // namespace bisparse::train
