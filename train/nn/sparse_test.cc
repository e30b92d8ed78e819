// SPDX-License-Identifier: Apache-2.0
// k-WTA against a naive reference written from its definition, gradients against central
// differences, boosting, schedules; layers with owners: masks, exact zeros, gradients on the mask.
// Past 400 lines: all of these tests use the same few layers.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "deploy/base/test_seed.h"
#include "train/nn/kwta.h"
#include "train/nn/packed_weight.h"

namespace bisparse::train {
namespace {

using packed::KwtaScope;

/// One sample, [positions][channels]: sorts all candidates of each group. Obviously right, slow.
std::vector<float> NaiveKwta(const std::vector<float>& x_pc, int64_t positions, int64_t channels,
                             const packed::Kwta& kwta, const std::vector<float>& boost_u) {
  std::vector<float> y_pc(x_pc.size(), 0.0f);
  const int64_t units = channels / kwta.chunk, group_units = units / kwta.groups;
  const bool global = kwta.scope == KwtaScope::kGlobal;
  struct Candidate {
    float score;
    int64_t p, u;
  };
  for (int64_t first = 0; first < positions; first += global ? positions : 1) {
    for (int64_t g = 0; g < kwta.groups; ++g) {
      std::vector<Candidate> candidates;
      for (int64_t p = first; p < (global ? positions : first + 1); ++p) {
        for (int64_t u = g * group_units; u < (g + 1) * group_units; ++u) {
          float sum = 0.0f;
          for (int64_t c = 0; c < kwta.chunk; ++c) {
            sum += std::max(x_pc[p * channels + u * kwta.chunk + c], 0.0f);
          }
          candidates.push_back({boost_u.empty() ? sum : sum * boost_u[u], p, u});
        }
      }
      std::stable_sort(candidates.begin(), candidates.end(),
                       [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
      for (int64_t w = 0; w < kwta.winners / kwta.groups; ++w) {
        for (int64_t c = 0; c < kwta.chunk; ++c) {
          const int64_t at = candidates[w].p * channels + candidates[w].u * kwta.chunk + c;
          y_pc[at] = std::max(x_pc[at], 0.0f);
        }
      }
    }
  }
  return y_pc;
}

struct RandomCase {
  int64_t batch, channels, height, width;
  packed::Kwta kwta;
  bool vector;  ///< NC instead of NCHW
  std::string Describe() const {
    return fmt::format("B={} C={} H={} W={} winners={} {} groups={} chunk={} {}", batch, channels,
                       height, width, kwta.winners,
                       kwta.scope == KwtaScope::kGlobal ? "global" : "local", kwta.groups,
                       kwta.chunk, vector ? "vector" : "map");
  }
};

RandomCase DrawCase(std::mt19937& random) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  RandomCase c{};
  c.vector = draw(0, 3) == 0;
  c.batch = draw(1, 4);
  c.height = c.vector ? 1 : draw(1, 5);
  c.width = c.vector ? 1 : draw(1, 5);
  c.kwta.groups = draw(1, 4);
  c.kwta.chunk = draw(1, 3);
  const int units = draw(1, 6);
  c.channels = int64_t{c.kwta.groups} * c.kwta.chunk * units;
  c.kwta.scope = draw(0, 1) == 0 ? KwtaScope::kLocal : KwtaScope::kGlobal;
  const int candidates =
      c.kwta.scope == KwtaScope::kGlobal ? units * static_cast<int>(c.height * c.width) : units;
  c.kwta.winners = c.kwta.groups * draw(1, candidates);
  return c;
}

/// Few distinct values, so that ties are the rule.
torch::Tensor DrawInput(const RandomCase& c) {
  const std::vector<int64_t> sizes =
      c.vector ? std::vector<int64_t>{c.batch, c.channels}
               : std::vector<int64_t>{c.batch, c.channels, c.height, c.width};
  return torch::randint(-3, 5, sizes, torch::kFloat32) * 0.37f;
}

/// Rows [batch][positions·channels], channels last.
torch::Tensor Rows(const torch::Tensor& x) {
  return (x.dim() == 4 ? x.permute({0, 2, 3, 1}) : x).reshape({x.size(0), -1}).contiguous();
}

TEST(Kwta, MatchesTheNaiveReferenceOnRandomShapes) {
  for (const uint64_t seed : TestSeeds(300)) {
    torch::manual_seed(seed);
    std::mt19937 random(static_cast<uint32_t>(seed));
    const RandomCase c = DrawCase(random);
    SCOPED_TRACE(c.Describe());
    const torch::Tensor x = DrawInput(c);
    torch::Tensor boost;
    if (seed % 3 == 0) {
      const int64_t units = c.channels / c.kwta.chunk;
      boost = torch::rand(seed % 2 == 0 ? std::vector<int64_t>{units}
                                        : std::vector<int64_t>{c.batch, units}) +
              0.5f;
    }
    const torch::Tensor rows = Rows(x), by_loop = Rows(ApplyKwta(x, c.kwta, boost)),
                        by_sort = Rows(ApplyKwtaBySort(x, c.kwta, boost));
    for (int64_t b = 0; b < c.batch; ++b) {
      const float* row = rows[b].data_ptr<float>();
      std::vector<float> boost_u;
      if (boost.defined()) {
        const torch::Tensor of_sample = boost.dim() == 2 ? boost[b] : boost;
        boost_u.assign(of_sample.data_ptr<float>(),
                       of_sample.data_ptr<float>() + of_sample.numel());
      }
      const std::vector<float> expected =
          NaiveKwta({row, row + rows.size(1)}, c.height * c.width, c.channels, c.kwta, boost_u);
      const float *loop = by_loop[b].data_ptr<float>(), *sort = by_sort[b].data_ptr<float>();
      ASSERT_EQ(std::vector<float>(loop, loop + rows.size(1)), expected) << "sample " << b;
      ASSERT_EQ(std::vector<float>(sort, sort + rows.size(1)), expected) << "sample " << b;
    }
  }
}

TEST(Kwta, ExactlyKWinnersAndTiesGoToTheLowestIndex) {
  const torch::Tensor x = torch::ones({1, 6});
  const torch::Tensor y = ApplyKwta(x, {.winners = 2});
  EXPECT_TRUE(torch::equal(y, torch::tensor({{1.f, 1.f, 0.f, 0.f, 0.f, 0.f}})));
  // Global over a 2×2 map of 2 channels: channels-last order is (y, x, c).
  const torch::Tensor map = torch::ones({1, 2, 2, 2});
  const torch::Tensor z = Rows(ApplyKwta(map, {.winners = 3, .scope = KwtaScope::kGlobal}));
  EXPECT_TRUE(torch::equal(z, torch::tensor({{1.f, 1.f, 1.f, 0.f, 0.f, 0.f, 0.f, 0.f}})));
}

TEST(Kwta, NanStaysVisible) {
  torch::Tensor x = torch::ones({1, 8});
  x[0][5] = std::nanf("");
  EXPECT_TRUE(ApplyKwta(x, {.winners = 1}).isnan().any().item<bool>());
}

TEST(Kwta, GradientIsTheCentralDifference) {
  for (const uint64_t seed : TestSeeds(30)) {
    torch::manual_seed(seed);
    std::mt19937 random(static_cast<uint32_t>(seed));
    RandomCase c = DrawCase(random);
    SCOPED_TRACE(c.Describe());
    const torch::Tensor shape = DrawInput(c);
    // Distinct values and, by the random part, distinct sums: a step of 1e-5 changes neither
    // winners nor signs. y is linear between, so rounding alone parts the two: Σ|y·w|·2^-53 / step.
    const torch::Tensor apart =
        torch::randperm(shape.numel()).to(torch::kFloat64) - shape.numel() * 0.4 + 0.3;
    torch::Tensor x = (apart + 0.2 * torch::rand({shape.numel()}, torch::kFloat64))
                          .mul(0.0371)
                          .view(shape.sizes());
    const torch::Tensor weight = torch::randn(shape.sizes(), torch::kFloat64);
    const auto objective = [&](const torch::Tensor& input) {
      return (ApplyKwta(input, c.kwta) * weight).sum();
    };
    x.requires_grad_(true);
    objective(x).backward();
    const torch::Tensor gradient = x.grad().clone();
    torch::NoGradGuard no_grad;
    const double step = 1e-5;
    for (int64_t i = 0; i < x.numel(); ++i) {
      torch::Tensor up = x.detach().clone(), down = x.detach().clone();
      up.view(-1)[i] += step;
      down.view(-1)[i] -= step;
      const double difference =
          (objective(up).item<double>() - objective(down).item<double>()) / (2 * step);
      ASSERT_NEAR(gradient.reshape(-1)[i].item<double>(), difference, 1e-7) << "element " << i;
    }
    // The f32 loop gives the gradient that the double path gave.
    torch::Tensor x32 = x.detach().to(torch::kFloat32).requires_grad_(true);
    torch::AutoGradMode grad(true);
    (ApplyKwta(x32, c.kwta) * weight.to(torch::kFloat32)).sum().backward();
    ASSERT_TRUE(torch::equal(x32.grad(), gradient.to(torch::kFloat32)));
  }
}

TEST(Kwta, BoostingRanksOnly) {
  const torch::Tensor x = torch::tensor({{1.0f, 2.0f, 3.0f, 4.0f}});
  const torch::Tensor boost = torch::tensor({10.0f, 1.0f, 1.0f, 1.0f});
  EXPECT_TRUE(
      torch::equal(ApplyKwta(x, {.winners = 2}, boost), torch::tensor({{1.0f, 0.0f, 0.0f, 4.0f}})));
}

KwtaConfig BoostedConfig() {
  return {.rule = {.winners = 2},
          .winners_start = 8,
          .anneal_until = 0.5,
          .boost = {.strength = 2.0, .period_samples = 4, .until = 0.5}};
}

TEST(Kwta, ModuleAnnealsInTrainingOnlyAndBoostsTheLosers) {
  Kwta module(BoostedConfig(), 8, 1);
  module->SetEpoch(0, 10);
  EXPECT_EQ(module->kwta().winners, 8);
  EXPECT_GT(module->boost(), 0.0);
  torch::manual_seed(1);
  const torch::Tensor x = torch::rand({4, 8}) + 0.1f;
  const auto winners = [](const torch::Tensor& y) { return (y > 0).sum(1).max().item<int64_t>(); };
  EXPECT_EQ(winners(module->forward(x)), 8);
  module->eval();
  EXPECT_EQ(winners(module->forward(x)), 2) << "evaluation must use the deployed rule";
  module->train();
  module->SetEpoch(2, 10);
  EXPECT_LT(module->kwta().winners, 8);
  EXPECT_GT(module->kwta().winners, 2);
  module->SetEpoch(5, 10);
  EXPECT_EQ(module->kwta().winners, 2);
  EXPECT_EQ(module->boost(), 0.0);
}

TEST(Kwta, DutyCycleIsTheRunningMeanOfWins) {
  KwtaConfig config{.rule = {.winners = 1}, .boost = {.period_samples = 4}};
  Kwta module(config, 4, 1);
  EXPECT_TRUE(torch::allclose(module->duty(), torch::full({4}, 0.25)));
  // Unit 2 wins both samples: d ← (d·(4 − 2) + wins)/4.
  module->forward(torch::tensor({{0.f, 1.f, 5.f, 2.f}, {0.f, 1.f, 5.f, 2.f}}));
  EXPECT_TRUE(torch::allclose(module->duty(), torch::tensor({0.125f, 0.125f, 0.625f, 0.125f})));
  const torch::Tensor before = module->duty().clone();
  module->eval();
  module->forward(torch::ones({2, 4}));
  EXPECT_TRUE(torch::equal(module->duty(), before));
}

TEST(Kwta, DutyCycleOfAMapCountsPositionsAndChunks) {
  KwtaConfig config{.rule = {.winners = 1, .chunk = 2}, .boost = {.period_samples = 2}};
  Kwta module(config, 4, 4);
  // One sample, 2×2 positions: unit 1 (channels 2 and 3) wins at three of them, unit 0 at one.
  torch::Tensor x_bhwc = torch::zeros({1, 2, 2, 4});
  x_bhwc.view({4, 4}).copy_(torch::tensor(
      {{1.f, 1.f, 3.f, 0.f}, {1.f, 1.f, 0.f, 3.f}, {0.f, 0.f, 1.f, 1.f}, {4.f, 0.f, 1.f, 1.f}}));
  module->forward(x_bhwc.permute({0, 3, 1, 2}));
  EXPECT_TRUE(torch::allclose(
      module->duty(), torch::tensor({0.5f * 0.5f + 0.25f * 0.5f, 0.5f * 0.5f + 0.75f * 0.5f})));
}

LayerConfig RandomLayer(std::mt19937& random, bool convolution) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  LayerConfig layer;
  layer.kind = convolution ? LayerKind::kConv2d : LayerKind::kLinear;
  layer.name = "layer";
  layer.kernel = {.outputs = draw(1, 20), .channels = draw(1, 9)};
  if (convolution) {
    layer.kernel.kernel_h = draw(1, 3);
    layer.kernel.kernel_w = draw(1, 3);
    layer.window = {.kernel_h = layer.kernel.kernel_h,
                    .kernel_w = layer.kernel.kernel_w,
                    .stride_h = draw(1, 2),
                    .stride_w = draw(1, 2),
                    .pad_h = draw(0, 1),
                    .pad_w = draw(0, 1),
                    .dilation_h = draw(1, 2),
                    .dilation_w = draw(1, 2)};
  }
  layer.outputs = layer.kernel.outputs;
  layer.packing.layout = {
      .set_size = draw(2, 5),
      .lanes = draw(1, 3),
      .run = {.channels = draw(1, 4),
              .taps = static_cast<packed::RunTaps>(convolution ? draw(0, 2) : 0)}};
  return layer;
}

TEST(PackedWeight, NoPositionOfASetHasTwoOwners) {
  for (const uint64_t seed : TestSeeds(100)) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    const LayerConfig layer = RandomLayer(random, seed % 2 == 0);
    PackedWeight module(layer, 5);
    const packed::Layout& layout = module->layout();
    const torch::Tensor nonzero_op = module->MaskedWeight() != 0;
    for (int64_t p = 0; p < layout.positions; ++p) {
      std::vector<int> owner(layout.sets, -1);
      for (int64_t o = 0; o < layer.kernel.outputs; ++o) {
        if (!nonzero_op[o][p].item<bool>()) continue;
        const packed::OutputPlace place = layout.PlaceOf(o);
        int& s = owner[place.n];
        ASSERT_TRUE(s == -1 || s == place.s) << "set " << place.n << ", position " << p
                                             << " is owned by " << s << " and " << place.s;
        s = place.s;
      }
    }
  }
}

TEST(PackedWeight, GradientsAreCentralDifferencesOnTheMaskAndZeroOffIt) {
  for (const uint64_t seed : TestSeeds(12)) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    torch::manual_seed(seed);
    const bool convolution = seed % 2 == 0;
    const LayerConfig layer = RandomLayer(random, convolution);
    PackedWeight module(layer, 5);
    module->to(torch::kFloat64);
    const torch::Tensor x = convolution
                                ? torch::randn({2, layer.kernel.channels, 6, 5}, torch::kFloat64)
                                : torch::randn({2, layer.kernel.channels}, torch::kFloat64);
    const torch::Tensor mask = MaskFromOwners(module->layout(), module->Owners());
    const torch::Tensor readout = torch::randn(module->forward(x).sizes(), torch::kFloat64);
    const auto objective = [&] { return (module->forward(x) * readout).sum(); };
    objective().backward();
    const torch::Tensor gradient = module->weight.grad().reshape(-1).clone();
    torch::NoGradGuard no_grad;
    torch::Tensor weight = module->weight.view(-1);
    const double step = 1e-5;
    for (int64_t i = 0; i < weight.numel(); ++i) {
      if (mask.view(-1)[i].item<float>() == 0.0f) {
        ASSERT_EQ(gradient[i].item<double>(), 0.0) << "weight " << i << " is off the mask";
        continue;
      }
      const double at = weight[i].item<double>();
      weight[i] = at + step;
      const double up = objective().item<double>();
      weight[i] = at - step;
      const double down = objective().item<double>();
      weight[i] = at;
      ASSERT_NEAR(gradient[i].item<double>(), (up - down) / (2 * step), 1e-7) << "weight " << i;
    }
  }
}

TEST(PackedWeight, MaskedWeightsStayExactlyZeroThroughAdamW) {
  std::mt19937 random(17);
  const LayerConfig layer = RandomLayer(random, false);
  PackedWeight module(layer, 9);
  torch::optim::AdamW optimiser(module->parameters(),
                                torch::optim::AdamWOptions(0.1).weight_decay(0.1));
  for (int step = 0; step < 20; ++step) {
    optimiser.zero_grad();
    module->forward(torch::randn({4, layer.kernel.channels})).square().sum().backward();
    optimiser.step();
  }
  const torch::Tensor mask = MaskFromOwners(module->layout(), module->Owners());
  EXPECT_EQ((module->weight.view(mask.sizes()) * (1 - mask)).abs().max().item<float>(), 0.0f);
  EXPECT_EQ(torch::signbit(module->MaskedWeight()).logical_and(mask == 0).sum().item<int64_t>(), 0);
}

TEST(PackedWeight, OwnersArePureInSeedAndName) {
  std::mt19937 random(19);
  LayerConfig layer = RandomLayer(random, false);
  layer.kernel = {.outputs = 32, .channels = 64};
  EXPECT_EQ(PackedWeight(layer, 1)->Owners(), PackedWeight(layer, 1)->Owners());
  EXPECT_NE(PackedWeight(layer, 1)->Owners(), PackedWeight(layer, 2)->Owners());
}

/// 8 kernel blocks of 2 lanes over 12 inputs, 4 share a set: 2 sets, runs of 2 inputs.
LayerConfig LearningLayer(OwnerRule rule) {
  LayerConfig layer;
  layer.kind = LayerKind::kLinear;
  layer.name = "linear1";
  layer.kernel = {.outputs = 16, .channels = 12};
  layer.packing.layout = {.set_size = 4, .lanes = 2, .run = {.channels = 2}};
  layer.packing.owners = rule;
  layer.packing.learning = {.update_steps = 1, .freeze_at = 0.5, .anneal_until = 0.25};
  return layer;
}

/// One step's gradients on random samples.
void Backward(PackedWeight& module) {
  module->train();
  module->weight.mutable_grad() = torch::Tensor();
  const torch::Tensor y = module->forward(torch::randn({8, 12}));
  (y * torch::randn_like(y)).sum().backward();
}

/// [N][S][R] sums of squares of `weight_op`, by a loop over the layout's own definition.
torch::Tensor SquaresOfRuns(const packed::Layout& layout, const torch::Tensor& weight_op) {
  torch::Tensor sum = torch::zeros({layout.sets, layout.packing.set_size, layout.runs});
  for (int64_t o = 0; o < layout.shape.outputs; ++o) {
    const int64_t block = o / layout.packing.lanes;
    for (int64_t p = 0; p < layout.positions; ++p) {
      sum[block / layout.packing.set_size][block % layout.packing.set_size][layout.RunOf(p)] +=
          weight_op[o][p].square();
    }
  }
  return sum;
}

TEST(LearnedOwners, AreTheKernelsWithTheLargestWeights) {
  torch::manual_seed(3);
  PackedWeight module(LearningLayer(OwnerRule::kLearned), 1);
  const torch::Tensor weight = module->weight.detach().clone();
  Backward(module);
  module->LearnOwners(0, 0.3, 0.0);
  const torch::Tensor expected = SquaresOfRuns(module->layout(), weight).argmax(1).reshape(-1);
  const std::vector<uint8_t> owners = module->Owners();
  ASSERT_EQ(static_cast<int64_t>(owners.size()), expected.numel());
  for (size_t i = 0; i < owners.size(); ++i) EXPECT_EQ(owners[i], expected[i].item<int64_t>());
  EXPECT_TRUE(torch::equal(module->MaskedWeight(),
                           weight * MaskFromOwners(module->layout(), module->Owners()) + 0.0));
}

TEST(LearnedOwners, KeepFewerKernelsAsTrainingGoesOnAndFreeze) {
  torch::manual_seed(4);
  PackedWeight module(LearningLayer(OwnerRule::kLearned), 1);
  std::vector<double> densities;
  for (const double progress : {0.0, 0.12, 0.2, 0.3}) {
    Backward(module);
    module->LearnOwners(0, progress, 0.0);
    densities.push_back(module->KeptDensity());
  }
  EXPECT_THAT(densities, testing::ElementsAre(1.0, 0.5, 0.25, 0.25));  // 4, 2, 1 and 1 of 4

  // Before they are frozen gradients reach every weight, afterwards the owners' alone.
  Backward(module);
  module->LearnOwners(0, 0.49, 0.0);
  EXPECT_EQ(module->weight.grad().eq(0).sum().item<int64_t>(), 0);
  const std::vector<uint8_t> owners = module->Owners();
  {
    torch::NoGradGuard no_grad;
    module->weight.copy_(torch::randn_like(module->weight));
  }
  Backward(module);
  module->LearnOwners(0, 0.5, 0.0);
  EXPECT_EQ(module->Owners(), owners);
  const torch::Tensor mask = MaskFromOwners(module->layout(), owners);
  EXPECT_EQ((module->weight.grad() * (1 - mask)).abs().max().item<float>(), 0.0f);
  EXPECT_GT(module->weight.grad().masked_select(mask > 0).abs().min().item<float>(), 0.0f);
}

TEST(LearnedOwners, LosersDecayAndWinnersDoNot) {
  LayerConfig layer = LearningLayer(OwnerRule::kLearned);
  layer.packing.learning.update_steps = 2;
  layer.packing.learning.loser_decay = 0.5;
  PackedWeight module(layer, 1);
  const torch::Tensor weight = module->weight.detach().clone();
  Backward(module);
  module->LearnOwners(1, 0.3, 0.1);  // not an update's step
  EXPECT_TRUE(torch::equal(module->weight, weight));
  module->LearnOwners(2, 0.3, 0.1);
  const torch::Tensor mask = MaskFromOwners(module->layout(), module->Owners());
  const double factor = 0.95 * 0.95;  // two steps of 1 − 0.1 · 0.5
  EXPECT_TRUE(torch::allclose(module->weight, weight * (mask + (1 - mask) * factor)));
}

TEST(LearnedOwners, BalancedOnesOwnEquallyManyRuns) {
  LayerConfig layer = LearningLayer(OwnerRule::kLearned);
  layer.packing.learning.balanced = true;
  layer.packing.layout.run.channels = 1;
  PackedWeight module(layer, 1);
  {
    torch::NoGradGuard no_grad;
    module->weight.narrow(0, 2, 2).mul_(100);  // block 1 would own everything
  }
  Backward(module);
  module->LearnOwners(0, 0.3, 0.0);
  std::array<int, 4> counts{};
  const std::vector<uint8_t> owners = module->Owners();
  for (int r = 0; r < 12; ++r) ++counts[owners[r]];
  EXPECT_THAT(counts, testing::Each(3));
}

TEST(RiglOwners, WeakOwnersHandTheirRunsToTheLargestGradient) {
  torch::manual_seed(5);
  LayerConfig layer = LearningLayer(OwnerRule::kRigl);
  layer.packing.learning.drop_fraction = 0.5;
  PackedWeight module(layer, 1);
  const std::vector<uint8_t> before = module->Owners();
  const torch::Tensor weight = module->weight.detach().clone();
  Backward(module);
  const packed::Layout& layout = module->layout();
  const torch::Tensor gradient = module->weight.grad().clone();
  const torch::Tensor best = SquaresOfRuns(layout, gradient).argmax(1).reshape(-1);
  const torch::Tensor strength = SquaresOfRuns(layout, weight).amax(1).reshape(-1);
  const int64_t runs = layout.owners();
  const torch::Tensor weak = std::get<1>(strength.topk(runs / 2, 0, /*largest=*/false));

  module->LearnOwners(1, 0.0, 0.1);
  const std::vector<uint8_t> after = module->Owners();
  const torch::Tensor is_weak = torch::zeros({runs}).index_fill(0, weak, 1);
  for (int64_t i = 0; i < runs; ++i) {
    const bool hands_over = is_weak[i].item<float>() > 0;
    EXPECT_EQ(after[i], hands_over ? best[i].item<int64_t>() : before[i]) << "run " << i;
  }
  // New owners begin at zero, and nothing off the mask moves.
  const torch::Tensor mask = MaskFromOwners(layout, after), old = MaskFromOwners(layout, before);
  EXPECT_TRUE(torch::equal(module->weight, weight * mask * old));
  EXPECT_TRUE(torch::equal(module->weight.grad(), gradient * mask));
  EXPECT_GT(module->OwnerChanges(), 0.0);
  module->BeginEpoch();
  EXPECT_EQ(module->OwnerChanges(), 0.0);
  module->LearnOwners(2, 0.5, 0.1);  // frozen
  EXPECT_EQ(module->OwnerChanges(), 0.0);
}

TEST(Kwta, RankingNoiseMovesWinnersInTrainingOnly) {
  torch::manual_seed(6);
  KwtaConfig config;
  config.rule = {.winners = 2, .groups = 1};
  config.noise = {.strength = 3.0, .until = 0.5};
  Kwta kwta(config, 8, 9);
  const torch::Tensor x = torch::rand({4, 8, 3, 3}) + 0.1;
  const torch::Tensor plain = ApplyKwta(x, config.rule);
  kwta->train();
  const torch::Tensor noisy = kwta->forward(x);
  EXPECT_FALSE(torch::equal(noisy, plain));
  EXPECT_EQ(noisy.gt(0).sum().item<int64_t>(), plain.gt(0).sum().item<int64_t>());
  EXPECT_TRUE(torch::equal(noisy, torch::where(noisy > 0, x, torch::zeros({}))));  // ranks only
  kwta->SetEpoch(5, 10);
  EXPECT_TRUE(torch::equal(kwta->forward(x), plain));
  kwta->SetEpoch(0, 10);
  kwta->eval();
  EXPECT_TRUE(torch::equal(kwta->forward(x), plain));
}

TEST(Kwta, LosersLeakWhileTrainingBegins) {
  KwtaConfig config;
  config.rule = {.winners = 1, .groups = 1};
  config.anneal_until = 0.5;
  config.leak = 0.5;
  Kwta kwta(config, 4, 1);
  const torch::Tensor x = torch::tensor({{4.0f, -1.0f, 2.0f, 3.0f}}).requires_grad_();
  kwta->train();
  const torch::Tensor y = kwta->forward(x);
  EXPECT_TRUE(torch::equal(y, torch::tensor({{4.0f, 0.0f, 1.0f, 1.5f}})));
  y.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), torch::tensor({{1.0f, 0.0f, 0.5f, 0.5f}})));
  kwta->SetEpoch(5, 10);
  const torch::Tensor hard = torch::tensor({{4.0f, 0.0f, 0.0f, 0.0f}});
  EXPECT_TRUE(torch::equal(kwta->forward(x), hard));
  kwta->SetEpoch(0, 10);
  kwta->eval();
  EXPECT_TRUE(torch::equal(kwta->forward(x), hard));
}

TEST(Kwta, JitterDrawsMoreWinnersInTrainingOnly) {
  torch::manual_seed(8);
  KwtaConfig config;
  config.rule = {.winners = 4, .groups = 2};
  config.jitter = 1.0;
  Kwta kwta(config, 16, 1);
  kwta->train();
  const torch::Tensor x = torch::rand({1, 16}) + 0.1;
  std::set<int64_t> seen;
  for (int step = 0; step < 50; ++step) {
    seen.insert(kwta->forward(x).gt(0).sum().item<int64_t>());
  }
  EXPECT_EQ(seen, (std::set<int64_t>{4, 6, 8}));
  kwta->eval();
  EXPECT_EQ(kwta->forward(x).gt(0).sum().item<int64_t>(), 4);
}

}  // namespace
}  // namespace bisparse::train
