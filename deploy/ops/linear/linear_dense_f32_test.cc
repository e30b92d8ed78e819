// SPDX-License-Identifier: Apache-2.0
// The dense linear layer against its definition: one sample, batches, winners; every ISA.
#include "deploy/ops/linear/linear_dense_f32.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/linear/linear_dense_f32_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

/// Batch against single samples bit for bit, single samples against the reference, and the same of
/// a list of winners.
void Check(const LinearDenseShape& s, int64_t batch, bool relu, Random& random) {
  SCOPED_TRACE(testing::Message() << s.inputs << " -> " << s.outputs << " batch " << batch
                                  << " relu " << relu);
  std::vector<float> x = random.Normals(batch * s.inputs);
  const std::vector<float> weight = random.Normals(s.inputs * s.outputs_padded());
  const std::vector<float> bias = random.Normals(s.outputs_padded());
  for (float& value : x) value = random.Int(0, 2) == 0 ? value : 0.0f;
  ForEachIsa([&] {
    Guarded<float> together(batch * s.outputs);
    LinearDenseF32(s, x.data(), batch, weight.data(), bias.data(), relu, together.data());
    ASSERT_TRUE(together.Intact());
    for (int64_t b = 0; b < batch; ++b) {
      const float* x_p = x.data() + b * s.inputs;
      Guarded<float> alone(s.outputs), winners(s.outputs);
      LinearDenseF32(s, x_p, 1, weight.data(), bias.data(), relu, alone.data());
      ASSERT_TRUE(alone.Intact());
      ASSERT_EQ(std::memcmp(alone.data(), together.data() + b * s.outputs,
                            static_cast<size_t>(s.outputs) * 4),
                0)
          << "sample " << b;
      std::vector<int32_t> index_w;
      std::vector<float> value_w;
      for (int64_t p = 0; p < s.inputs; ++p) {
        if (x_p[p] == 0) continue;
        index_w.push_back(static_cast<int32_t>(p));
        value_w.push_back(x_p[p]);
      }
      LinearWinnersF32(s, index_w.data(), value_w.data(), static_cast<int64_t>(index_w.size()),
                       weight.data(), bias.data(), relu, winners.data());
      ASSERT_TRUE(winners.Intact());
      for (int64_t o = 0; o < s.outputs; ++o) {
        const RefValue ref = LinearDenseRef(s, x_p, weight.data(), bias.data(), relu, o);
        ASSERT_NEAR(alone[o], ref.value, ref.bound) << "sample " << b << " output " << o;
        ASSERT_EQ(alone[o], winners[o]) << "sample " << b << " output " << o;
      }
    }
  });
}

TEST(LinearDense, WorkedByHand) {
  const LinearDenseShape shape{.inputs = 2, .outputs = 2};
  std::vector<float> weight(2 * 16), bias(16);
  weight[0] = 2, weight[1] = -3, weight[16] = 5, weight[17] = 7, bias[0] = 1;
  const float x[] = {10, 100};
  float y[2];
  LinearDenseF32(shape, x, 1, weight.data(), bias.data(), false, y);
  EXPECT_EQ(y[0], 1 + 2 * 10 + 5 * 100);
  EXPECT_EQ(y[1], -3 * 10 + 7 * 100);
}

TEST(LinearDense, EveryWidth) {
  Random random(2);
  for (int64_t outputs = 1; outputs <= 67; ++outputs) {
    Check({.inputs = 1 + outputs % 11, .outputs = outputs}, 1 + outputs % 9, outputs % 2 == 0,
          random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(LinearDense, RandomShapes) {
  for (const uint64_t seed : TestSeeds(20)) {
    Random random(seed);
    Check({.inputs = random.Int(1, 200), .outputs = random.Int(1, 150)}, random.Int(1, 110),
          random.Int(0, 1) == 1, random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(LinearDense, NoWinnersLeaveTheBias) {
  const LinearDenseShape shape{.inputs = 3, .outputs = 40};
  Random random(3);
  const std::vector<float> weight = random.Normals(3 * 48), bias = random.Normals(48);
  ForEachIsa([&] {
    Guarded<float> y(40);
    LinearWinnersF32(shape, nullptr, nullptr, 0, weight.data(), bias.data(), true, y.data());
    ASSERT_TRUE(y.Intact());
    for (int64_t o = 0; o < 40; ++o) ASSERT_EQ(y[o], std::max(bias[static_cast<size_t>(o)], 0.0f));
  });
}

}  // namespace
}  // namespace bisparse::kernels
