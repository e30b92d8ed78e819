// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels on bytes against their definitions, every width, on every instruction set.
#include "deploy/ops/shared/elementwise_u8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "deploy/ops/shared/test_util.h"

namespace bisparse::kernels {
namespace {

TEST(ElementwiseU8, ReluOfEveryByteWidthAndZero) {
  for (const uint8_t zero : {0, 1, 128, 255}) {
    for (const int64_t n : {0, 1, 15, 16, 63, 64, 65, 200, 256}) {
      std::vector<uint8_t> x(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
      ForEachIsa([&] {
        Guarded<uint8_t> y(n);
        ReluU8(x.data(), n, zero, y.data());
        ASSERT_TRUE(y.Intact());
        for (int64_t i = 0; i < n; ++i) {
          ASSERT_EQ(int{y[i]}, std::max<int>(static_cast<int>(i), zero) - zero) << "n " << n;
        }
        std::vector<uint8_t> in_place = x;
        ReluU8(in_place.data(), n, zero, in_place.data());
        ASSERT_TRUE(std::equal(in_place.begin(), in_place.end(), y.data()));
      });
    }
  }
}

TEST(ElementwiseU8, TableOfEveryByteAndInPlace) {
  std::vector<uint8_t> table(256), x(512);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(i * 7 + 3);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i);
  Guarded<uint8_t> y(512);
  TableU8(x.data(), 512, table.data(), y.data());
  ASSERT_TRUE(y.Intact());
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(int{y[static_cast<int64_t>(i)]}, int(i % 256 * 7 + 3) % 256) << "i " << i;
  }
  TableU8(x.data(), 512, table.data(), x.data());
  EXPECT_TRUE(std::equal(x.begin(), x.end(), y.data()));
}

}  // namespace
}  // namespace bisparse::kernels
