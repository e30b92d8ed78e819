// SPDX-License-Identifier: Apache-2.0
#include "deploy/base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace bisparse {
namespace {

TEST(AlignedBuffer, IsAlignedAndZero) {
  for (size_t size : {1u, 3u, 15u, 16u, 17u, 1000u}) {
    const AlignedBuffer<float> buffer(size);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u) << size;
    EXPECT_TRUE(std::all_of(buffer.begin(), buffer.end(), [](float v) { return v == 0.0f; }));
  }
}

TEST(AlignedBuffer, EmptyHasNoMemory) {
  EXPECT_EQ(AlignedBuffer<float>(0).data(), nullptr);
  EXPECT_TRUE(AlignedBuffer<float>().empty());
}

TEST(AlignedBuffer, MovesItsElements) {
  AlignedBuffer<int> a(4);
  a[3] = 7;
  const int* const where = a.data();
  AlignedBuffer<int> b(std::move(a));
  EXPECT_EQ(b.data(), where);
  EXPECT_EQ(a.size(), 0u);
  AlignedBuffer<int> c(9);
  c = std::move(b);
  EXPECT_EQ(c.size(), 4u);
  EXPECT_EQ(c[3], 7);
  EXPECT_EQ(b.data(), nullptr);
}

TEST(AlignedBuffer, RefusesASizeThatOverflows) {
  EXPECT_THROW(AlignedBuffer<double>(SIZE_MAX / 4), std::bad_alloc);
}

}  // namespace
}  // namespace bisparse
