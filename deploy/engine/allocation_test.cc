// SPDX-License-Identifier: Apache-2.0
// Nothing is allocated in a run once it is warm: every operator new of this program is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "deploy/engine/engine_access.h"
#include "deploy/packed/example_model.h"

namespace {
std::atomic<int64_t> allocations{0};

void* Count(size_t bytes, size_t alignment) {
  ++allocations;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

// NOLINTBEGIN(misc-new-delete-overloads): std::free takes both back.
void* operator new(size_t bytes) { return Count(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return Count(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
// NOLINTEND(misc-new-delete-overloads)

namespace bisparse {
namespace {

TEST(Allocation, NoneInARunThatIsWarm) {
  const packed::Model model = packed::MakeExampleModel(1);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
    for (const int threads : {1, 2}) {
      const int64_t before_load = allocations;
      const Engine engine = EngineAccess::FromModel(model, {.threads = threads, .mode = mode});
      ASSERT_GT(allocations, before_load) << "the counter counts";
      const int64_t batch = 40;
      std::vector<float> x(static_cast<size_t>(batch * model.input.elements()), 0.5f);
      std::vector<float> y(static_cast<size_t>(batch * model.output_count()));
      std::vector<int64_t> layer_ns(model.layers.size());
      const std::span<const float> x1(x.data(), static_cast<size_t>(model.input.elements()));
      const std::span<float> y1(y.data(), static_cast<size_t>(model.output_count()));
      for (int warm_up = 0; warm_up < 3; ++warm_up) engine.RunBatch(x, batch, y);
      const int64_t before = allocations;
      engine.Run(x1, y1);
      engine.RunBatch(x, batch, y);
      engine.RunProfiled(x1, y1, layer_ns);
      EXPECT_EQ(allocations, before) << ModeName(mode) << ", threads " << threads;
    }
  }
}

}  // namespace
}  // namespace bisparse
