// SPDX-License-Identifier: Apache-2.0
// Dense int8 sums, windows, quantising and requantising against plain loops on every instruction set:
// integers, so no tolerance; the extreme products that saturate where a kernel is careless.
#include "deploy/ops/shared/matmul_i8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

void CheckMatMul(int64_t rows, int64_t inputs, int64_t outputs, int32_t most, bool extreme,
                 Random& random) {
  SCOPED_TRACE(testing::PrintToString(std::vector<int64_t>{rows, inputs, outputs}));
  const int64_t depth = (inputs + 3) / 4 * 4, padded = (outputs + 15) / 16 * 16;
  std::vector<uint8_t> x(static_cast<size_t>(rows * depth));
  std::vector<int8_t> weight(static_cast<size_t>(depth * padded));
  std::vector<int32_t> bias(static_cast<size_t>(padded));
  for (uint8_t& v : x) v = static_cast<uint8_t>(extreme ? 255 : random.Int(0, 255));
  for (int8_t& v : weight) v = static_cast<int8_t>(extreme ? most : random.Int(-most, most));
  for (int32_t& v : bias) v = random.Int(-100000, 100000);
  Guarded<int32_t> acc(rows * padded);
  MatMulI8({.rows = rows,
            .depth = depth,
            .outputs = padded,
            .x = x.data(),
            .x_stride = depth,
            .weight = weight.data(),
            .narrow = most <= packed::kNarrowWeight,
            .bias_o = bias.data(),
            .acc = acc.data()});
  ASSERT_TRUE(acc.Intact());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < padded; ++o) {
      int64_t sum = bias[static_cast<size_t>(o)];
      for (int64_t p = 0; p < depth; ++p) {
        sum += int64_t{x[static_cast<size_t>(r * depth + p)]} *
               weight[static_cast<size_t>(MatMulWeightAt(p, o, padded))];
      }
      ASSERT_EQ(acc[r * padded + o], sum) << "row " << r << ", output " << o;
    }
  }
}

TEST(MatMulI8, EveryWidth) {
  ForEachIsa([] {
    Random random(1);
    for (const int32_t most : {127, packed::kNarrowWeight, -packed::kNarrowWeight}) {
      for (int64_t size = 1; size <= 67; ++size)
        CheckMatMul(size % 14 + 1, size, size * 3, std::abs(most), false, random);
      CheckMatMul(7, 1600, 64, most, true, random);  // 255·127·1600 fits 32 bits, no step of it 16
    }
  });
}

TEST(MatMulI8, RowsOfSegmentsAtAnyPlace) {
  ForEachIsa([] {
    Random random(5);
    for (int trial = 0; trial < 60; ++trial) {
      const int64_t rows = random.Int(1, 40), depth = 4 * random.Int(1, 9);
      const int64_t outputs = 16 * random.Int(1, 7), segments = random.Int(1, 4);
      std::vector<int32_t> segment(static_cast<size_t>(segments));
      for (int32_t& at : segment) at = random.Int(0, 100);
      std::vector<int32_t> offset(static_cast<size_t>(rows));
      for (int32_t& at : offset) at = random.Int(0, 500);
      std::vector<uint8_t> x(static_cast<size_t>(500 + 100 + depth));
      std::vector<int8_t> weight(static_cast<size_t>(segments * depth * outputs));
      std::vector<int32_t> bias(static_cast<size_t>(outputs));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
      for (int8_t& v : weight) v = static_cast<int8_t>(random.Int(-127, 127));
      for (int32_t& v : bias) v = random.Int(-100000, 100000);
      Guarded<int32_t> acc(rows * outputs);
      MatMulI8({.rows = rows,
                .depth = depth,
                .outputs = outputs,
                .x = x.data(),
                .offset_r = offset.data(),
                .segments = segments,
                .offset_s = segment.data(),
                .weight = weight.data(),
                .bias_o = bias.data(),
                .acc = acc.data()});
      ASSERT_TRUE(acc.Intact());
      for (int64_t i = 0; i < rows * outputs; ++i) {
        const int64_t o = i % outputs;
        int64_t sum = bias[static_cast<size_t>(o)];
        for (int64_t p = 0; p < segments * depth; ++p) {
          const int64_t at = offset[static_cast<size_t>(i / outputs)] +
                             segment[static_cast<size_t>(p / depth)] + p % depth;
          sum += int64_t{x[static_cast<size_t>(at)]} *
                 weight[static_cast<size_t>(MatMulWeightAt(p, o, outputs))];
        }
        ASSERT_EQ(acc[i], sum) << "trial " << trial;
      }
    }
  });
}

TEST(MatMulI8, PadsAMapOnAllSides) {
  Random random(2);
  for (int trial = 0; trial < 200; ++trial) {
    const Shape map{random.Int(1, 5), random.Int(1, 5), random.Int(1, 5)};
    const int32_t pad_h = random.Int(0, 3), pad_w = random.Int(0, 3);
    std::vector<uint8_t> x(static_cast<size_t>(map.elements()));
    for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
    const Shape out{map.height + 2 * pad_h, map.width + 2 * pad_w, map.channels};
    Guarded<uint8_t> padded(out.elements());
    PadMapU8(map, pad_h, pad_w, 9, x.data(), padded.data());
    ASSERT_TRUE(padded.Intact());
    for (int64_t i = 0; i < out.elements(); ++i) {
      const int64_t c = i % out.channels, column = i / out.channels % out.width - pad_w;
      const int64_t row = i / out.channels / out.width - pad_h;
      const bool inside = row >= 0 && row < map.height && column >= 0 && column < map.width;
      const int expected =
          inside ? x[static_cast<size_t>((row * map.width + column) * map.channels + c)] : 9;
      ASSERT_EQ(padded[i], expected) << "trial " << trial << ", element " << i;
    }
  }
}

TEST(MatMulI8, QuantisesTiesToEvenAndClampsAndTakesNanAsTheSmallest) {
  ForEachIsa([] {
    std::vector<float> x = {0.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e30f, -1e30f, 200.2f, -101.0f};
    x.push_back(std::numeric_limits<float>::quiet_NaN());
    x.push_back(std::numeric_limits<float>::infinity());
    const std::vector<int> expected = {100, 100, 102, 102, 100, 98, 255, 0, 255, 0, 0, 255};
    for (size_t shift = 0; shift < 20; ++shift) {  // in vectors and past them
      std::vector<float> moved(shift, 1.0f);
      moved.insert(moved.end(), x.begin(), x.end());
      for (float& v : moved) v *= 0.25f;
      Guarded<uint8_t> q(static_cast<int64_t>(moved.size()));
      QuantiseI8(moved.data(), static_cast<int64_t>(moved.size()), 0.25f, 100, q.data());
      ASSERT_TRUE(q.Intact());
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_EQ(q[static_cast<int64_t>(shift + i)], expected[i]) << "x = " << x[i];
      }
    }
  });
}

TEST(MatMulI8, QuantisesAndGivesLogitsTheSameInEveryModeOfFloats) {
  ForEachIsa([] {
    Random random(4);
    std::vector<float> x = random.Normals(67);
    x.insert(x.end(), {0.5f, 1.5f, -0.5f, 0.49999997f, 1e-40f, 3e38f});
    std::vector<int32_t> acc(x.size());
    for (int32_t& v : acc) v = random.Int(INT32_MIN, INT32_MAX);
    const auto n = static_cast<int64_t>(x.size());
    for (const float scale : {0.3f, 7e-3f, 3e-39f, 1e-40f}) {
      const std::vector<float> scale_o(x.size(), scale);
      std::vector<std::vector<uint8_t>> q;
      std::vector<std::vector<float>> y;
      ForEachFloatMode([&] {
        QuantiseI8(x.data(), n, scale, 3, q.emplace_back(x.size()).data());
        LogitsI8(acc.data(), n, scale_o.data(), y.emplace_back(x.size()).data());
      });
      for (size_t mode = 1; mode < q.size(); ++mode) {
        EXPECT_EQ(q[mode], q[0]) << "scale " << scale << ", mode " << mode;
        EXPECT_EQ(y[mode], y[0]) << "scale " << scale << ", mode " << mode;
      }
    }
  });
}

TEST(MatMulI8, RequantisesAnySum) {
  ForEachIsa([] {
    Random random(3);
    for (int64_t n = 1; n <= 67; ++n) {
      const int64_t rows = random.Int(1, 3), stride = n + random.Int(0, 5);
      std::vector<int32_t> acc(static_cast<size_t>(rows * stride)), shift(static_cast<size_t>(n));
      for (int32_t& v : acc)
        v = random.Int(0, 3) ? random.Int(-300, 70000) : random.Int(INT32_MIN / 2, INT32_MAX / 2);
      for (int32_t& v : shift) v = random.Int(0, 30);
      Guarded<uint8_t> q(rows * n);
      RequantiseI8(acc.data(), rows, stride, n, shift.data(), q.data());
      ASSERT_TRUE(q.Intact());
      for (int64_t i = 0; i < rows * n; ++i) {
        const int32_t sum = acc[static_cast<size_t>(i / n * stride + i % n)],
                      bits = shift[static_cast<size_t>(i % n)];
        ASSERT_EQ(q[i], std::clamp(sum >> bits, 0, 255)) << sum << " >> " << bits;
      }
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
