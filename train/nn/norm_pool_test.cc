// SPDX-License-Identifier: Apache-2.0
// Batch norm and max-pool by kernels against LibTorch's in double; the same bits for any number of threads.
#include "train/nn/norm_pool.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bisparse::train {
namespace {

struct Case {
  std::vector<int64_t> sizes;
  packed::Window pool;  ///< kernel 1×1: none
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {{6, 20, 9, 8}, {.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2}},
      {{3, 5, 7, 6},
       {.kernel_h = 3, .kernel_w = 2, .stride_h = 2, .stride_w = 1, .pad_h = 1, .pad_w = 1}},
      {{4, 33, 5, 5}, {}},
      {{17, 40}, {}},
  };
  return cases;
}

struct Network {
  Network(const Case& c, torch::Dtype type) : channels(c.sizes[1]) {
    torch::manual_seed(7);
    x = torch::randn(c.sizes, torch::kFloat64);
    if (x.dim() == 4) x = x.contiguous(torch::MemoryFormat::ChannelsLast);
    x = (3.0 + 2.0 * x).to(torch::kFloat32).to(type).requires_grad_();
    // Scales of both signs.
    weight = torch::randn({channels}).to(type).requires_grad_();
    bias = torch::randn({channels}).to(type).requires_grad_();
    running_mean = torch::randn({channels}).to(type);
    running_var = torch::rand({channels}).to(type);
  }
  NormParameters parameters() const { return {weight, bias, running_mean, running_var, 0.1, 1e-5}; }
  int64_t channels;
  torch::Tensor x, weight, bias, running_mean, running_var;
};

const packed::Window* PoolOf(const Case& c) {
  return c.pool.kernel_h * c.pool.kernel_w > 1 ? &c.pool : nullptr;
}

torch::Tensor RandomGradient(const torch::Tensor& y) {
  torch::manual_seed(8);
  return torch::randn(y.sizes()) * torch::rand(y.sizes()).lt(0.5);
}

TEST(NormPoolFunction, IsLibTorchs) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(testing::PrintToString(c.sizes));
    Network ours(c, torch::kFloat32), theirs(c, torch::kFloat64);
    const packed::Window* const pool = PoolOf(c);
    const torch::Tensor y = NormPool(ours.x, ours.parameters(), pool);
    torch::Tensor want =
        torch::batch_norm(theirs.x, theirs.weight, theirs.bias, theirs.running_mean,
                          theirs.running_var, /*training=*/true, 0.1, 1e-5, /*cudnn=*/false);
    if (pool != nullptr) {
      want = torch::max_pool2d(want, {pool->kernel_h, pool->kernel_w},
                               {pool->stride_h, pool->stride_w}, {pool->pad_h, pool->pad_w});
    }
    const torch::Tensor dy = RandomGradient(y);
    y.backward(dy);
    want.backward(dy.to(torch::kFloat64));
    // Sums of n terms in f32, then a few products of numbers of order 1 to 10: n roundings of the largest sum bound each
    // statistic, and every result is a sum of at most three such products.
    const double n = static_cast<double>(ours.x.numel() / ours.channels);
    const auto expect_near = [&](const torch::Tensor& got, const torch::Tensor& exact,
                                 const char* what) {
      const torch::Tensor distance = (got.detach().to(torch::kFloat64) - exact.detach()).abs();
      const double size = 10.0 * (1.0 + exact.detach().abs().max().item<double>());
      EXPECT_LE(distance.max().item<double>(), n * 0x1p-24 * size) << what;
    };
    expect_near(y, want, "y");
    expect_near(ours.running_mean, theirs.running_mean, "running mean");
    expect_near(ours.running_var, theirs.running_var, "running variance");
    expect_near(ours.x.grad(), theirs.x.grad(), "dx");
    expect_near(ours.weight.grad(), theirs.weight.grad(), "dweight");
    expect_near(ours.bias.grad(), theirs.bias.grad(), "dbias");
  }
}

TEST(NormPoolFunction, SameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const Case& c : Cases()) {
    std::vector<torch::Tensor> first;
    for (const int threads : {1, 2, 5}) {
      at::set_num_threads(threads);
      Network network(c, torch::kFloat32);
      const torch::Tensor y = NormPool(network.x, network.parameters(), PoolOf(c));
      y.backward(RandomGradient(y));
      const std::vector<torch::Tensor> now = {
          y.detach(),       network.running_mean,  network.running_var,
          network.x.grad(), network.weight.grad(), network.bias.grad()};
      if (first.empty()) first = now;
      for (size_t i = 0; i < now.size(); ++i) {
        EXPECT_TRUE(torch::equal(first[i], now[i])) << "tensor " << i << ", threads " << threads;
      }
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace bisparse::train
