// SPDX-License-Identifier: Apache-2.0
// Joins of maps against their definitions: every width, repeated inputs, on every instruction set.
#include "deploy/ops/shared/join_maps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

/// Maps of one random join; inputs after the first may be repeated.
template <class T>
struct Example {
  Example(Random& random, int32_t inputs) {
    height = random.Int(1, 3);
    width = random.Int(1, 3);
    channels = random.Int(1, 70);
    for (int32_t j = 0; j < inputs; ++j) {
      const bool once_y = j > 0 && random.Int(0, 1) == 1, once_x = j > 0 && random.Int(0, 1) == 1;
      const int64_t w = once_x ? 1 : width;
      stride_j.push_back({once_y ? 0 : w * channels, once_x ? 0 : channels});
      std::vector<T> x(static_cast<size_t>((once_y ? 1 : height) * w * channels));
      for (T& value : x) value = static_cast<T>(random.Int(0, 255));
      x_j.push_back(std::move(x));
    }
    for (const std::vector<T>& x : x_j) pointer_j.push_back(x.data());
  }
  JoinShape shape() const {
    return {height, width, channels, static_cast<int32_t>(x_j.size()), stride_j.data()};
  }
  T At(size_t j, int64_t element) const {
    const int64_t c = element % channels, x = element / channels % width;
    const int64_t y = element / channels / width;
    return x_j[j][static_cast<size_t>(y * stride_j[j].y + x * stride_j[j].x + c)];
  }
  int64_t elements() const { return height * width * channels; }

  int64_t height, width, channels;
  std::vector<JoinStride> stride_j;
  std::vector<std::vector<T>> x_j;
  std::vector<const void*> pointer_j;
};

TEST(Join, FloatsEqualTheDefinition) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    const Example<float> example(random, random.Int(2, 5));
    const bool relu = random.Int(0, 1) == 1;
    ForEachIsa([&] {
      Guarded<float> sum(example.elements()), product(example.elements());
      AddF32(example.shape(), example.pointer_j.data(), relu, sum.data());
      MultiplyF32(example.shape(), example.pointer_j.data(), relu, product.data());
      ASSERT_TRUE(sum.Intact() && product.Intact());
      for (int64_t e = 0; e < example.elements(); ++e) {
        float s = example.At(0, e), p = s;
        for (size_t j = 1; j < example.x_j.size(); ++j) {
          s += example.At(j, e);
          p *= example.At(j, e);
        }
        ASSERT_EQ(sum[e], relu ? std::max(s, 0.0f) : s) << "round " << round;
        ASSERT_EQ(product[e], relu ? std::max(p, 0.0f) : p) << "round " << round;
      }
    });
  }
}

TEST(Join, BytesEqualTheDefinition) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    const Example<uint8_t> example(random, random.Int(1, 5));
    std::vector<int32_t> shift_j;
    for (size_t j = 0; j < example.x_j.size(); ++j) shift_j.push_back(random.Int(0, 6));
    const int32_t constant = random.Int(-20000, 20000), shift = random.Int(0, 8);
    ForEachIsa([&] {
      Guarded<uint8_t> y(example.elements());
      AddU8({example.shape(), shift_j.data(), constant, shift}, example.pointer_j.data(), y.data());
      ASSERT_TRUE(y.Intact());
      for (int64_t e = 0; e < example.elements(); ++e) {
        int64_t sum = constant;
        for (size_t j = 0; j < example.x_j.size(); ++j) sum += example.At(j, e) << shift_j[j];
        ASSERT_EQ(int64_t{y[e]}, std::clamp<int64_t>(sum >> shift, 0, 255)) << "round " << round;
      }
    });
  }
}

TEST(Join, ProductsOfBytesEqualTheDefinition) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    const Example<uint8_t> example(random, 2);
    const int32_t zero_0 = random.Int(0, 1) * 128, zero_1 = random.Int(0, 1) * 128;
    const int32_t constant = random.Int(-20000, 40000), shift = random.Int(0, 10);
    ForEachIsa([&] {
      Guarded<uint8_t> y(example.elements());
      MultiplyU8({example.shape(), zero_0, zero_1, constant, shift}, example.pointer_j.data(),
                 y.data());
      ASSERT_TRUE(y.Intact());
      for (int64_t e = 0; e < example.elements(); ++e) {
        const int64_t product =
            int64_t{example.At(0, e) - zero_0} * (example.At(1, e) - zero_1) + constant;
        ASSERT_EQ(int64_t{y[e]}, std::clamp<int64_t>(product >> shift, 0, 255));
      }
    });
  }
}

}  // namespace
}  // namespace bisparse::kernels
