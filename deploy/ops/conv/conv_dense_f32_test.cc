// SPDX-License-Identifier: Apache-2.0
// The dense convolution against its definition, on every instruction set.
#include "deploy/ops/conv/conv_dense_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "deploy/base/test_seed.h"
#include "deploy/ops/conv/conv_dense_f32_ref.h"
#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

struct ConvCase {
  ConvDenseShape shape;
  std::vector<float> x, x_padded, weight, bias;
  std::vector<int32_t> offset_p;
};

ConvCase MakeCase(const ConvDenseShape& shape, Random& random) {
  ConvCase c{.shape = shape,
             .x = random.Normals(int64_t{shape.in_h} * shape.in_w * shape.channels),
             .x_padded = std::vector<float>(static_cast<size_t>(shape.padded_elements()), NAN),
             .weight = random.Normals(shape.positions() * shape.outputs_padded()),
             .bias = random.Normals(shape.outputs_padded()),
             .offset_p = std::vector<int32_t>(static_cast<size_t>(shape.positions()))};
  PadMap(c.x.data(), shape.in_h, shape.in_w, shape.channels, shape.pad_h, shape.pad_w,
         c.x_padded.data());
  ConvDenseOffsets(shape, c.offset_p.data());
  return c;
}

void Check(const ConvCase& c, bool relu, int64_t split) {
  const ConvDenseShape& s = c.shape;
  SCOPED_TRACE(testing::Message() << "in " << s.in_h << "x" << s.in_w << "x" << s.channels
                                  << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride "
                                  << s.stride_h << "x" << s.stride_w << " pad " << s.pad_h << "x"
                                  << s.pad_w << " outputs " << s.outputs << " relu " << relu
                                  << " split " << split);
  const int64_t elements = s.out_positions() * s.outputs;
  Guarded<float> whole(elements), parts(elements);
  ConvDenseF32(s, c.x_padded.data(), c.offset_p.data(), c.weight.data(), c.bias.data(), relu, 0,
               s.out_positions(), whole.data());
  for (int64_t begin = 0; begin < s.out_positions(); begin += split) {
    ConvDenseF32(s, c.x_padded.data(), c.offset_p.data(), c.weight.data(), c.bias.data(), relu,
                 begin, std::min(begin + split, s.out_positions()), parts.data());
  }
  ASSERT_TRUE(whole.Intact() && parts.Intact());
  ASSERT_EQ(std::memcmp(whole.data(), parts.data(), static_cast<size_t>(elements) * 4), 0);
  for (int64_t q = 0; q < s.out_positions(); ++q) {
    for (int64_t o = 0; o < s.outputs; ++o) {
      const RefValue ref = ConvDenseRef(s, c.x.data(), c.weight.data(), c.bias.data(), relu,
                                        q / s.out_w(), q % s.out_w(), o);
      ASSERT_NEAR(whole[q * s.outputs + o], ref.value, ref.bound)
          << "position " << q << " output " << o;
    }
  }
}

TEST(ConvDense, WorkedByHand) {
  // Map 1×3 of one channel, kernel 1×2: y = (10, 12)·taps + bias 1.
  const ConvDenseShape shape{.in_h = 1, .in_w = 3, .kernel_w = 2, .outputs = 1};
  const float x[] = {1, 2, 3};
  std::vector<float> weight(2 * 16), bias(16);
  weight[0] = 3, weight[16] = 4, bias[0] = 1;
  int32_t offset_p[2];
  ConvDenseOffsets(shape, offset_p);
  float y[2];
  ConvDenseF32(shape, x, offset_p, weight.data(), bias.data(), false, 0, 2, y);
  EXPECT_EQ(y[0], 1 + 3 * 1 + 4 * 2);
  EXPECT_EQ(y[1], 1 + 3 * 2 + 4 * 3);
}

TEST(ConvDense, EveryNumberOfOutputsAndPositions) {
  Random random(1);
  for (int32_t outputs = 1; outputs <= 67; ++outputs) {
    const ConvDenseShape shape{
        .in_h = 1, .in_w = 1 + outputs % 13, .channels = 3, .kernel_w = 1, .outputs = outputs};
    const ConvCase c = MakeCase(shape, random);
    ForEachIsa([&] { Check(c, outputs % 2 == 0, 4); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(ConvDense, RandomShapes) {
  for (const uint64_t seed : TestSeeds(40)) {
    Random random(seed);
    ConvDenseShape s;
    s.kernel_h = random.Int(1, 5), s.kernel_w = random.Int(1, 5);
    s.stride_h = random.Int(1, 3), s.stride_w = random.Int(1, 3);
    s.pad_h = random.Int(0, s.kernel_h - 1), s.pad_w = random.Int(0, s.kernel_w - 1);
    if (random.Int(0, 2) == 0) s.dilation_h = random.Int(1, 4), s.dilation_w = random.Int(1, 4);
    s.in_h = (s.kernel_h - 1) * s.dilation_h + 1 + random.Int(0, 12);
    s.in_w = (s.kernel_w - 1) * s.dilation_w + 1 + random.Int(0, 12);
    s.channels = random.Int(0, 1) == 0 ? 1 : random.Int(2, 40);
    s.outputs = random.Int(1, 140);
    const ConvCase c = MakeCase(s, random);
    ForEachIsa([&] { Check(c, random.Int(0, 1) == 1, random.Int(1, 30)); });
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace bisparse::kernels
