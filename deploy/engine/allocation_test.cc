// SPDX-License-Identifier: Apache-2.0
// What allocates, and what is left where an allocation fails: every operator new of this program is counted, and can be
// made to throw.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "bisparse/stream.h"
#include "deploy/base/test_seed.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/example_model.h"
#include "deploy/reference/random_model.h"

namespace {
std::atomic<int64_t> allocations{0}, alive{0};
thread_local int64_t until_failure = -1;  // allocations of this thread; -1: none fails

void* Count(size_t bytes, size_t alignment) {
  ++allocations;
  if (until_failure >= 0 && until_failure-- == 0) throw std::bad_alloc();
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  ++alive;
  return memory;
}
void Free(void* memory) {
  if (memory != nullptr) --alive;
  std::free(memory);
}
}  // namespace

// NOLINTBEGIN(misc-new-delete-overloads): Free takes both back.
void* operator new(size_t bytes) { return Count(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return Count(bytes, static_cast<size_t>(alignment));
}
// std::stable_sort asks so for its buffer.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return Count(bytes, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
// NOLINTEND(misc-new-delete-overloads)

namespace bisparse {
namespace {

void CheckThatRunsAllocateNothing(const packed::Model& model) {
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
      EXPECT_EQ(allocations, before)
          << model.name << ", " << ModeName(mode) << ", threads " << threads;
    }
  }
}

TEST(Allocation, NoneInARunThatIsWarm) {
  CheckThatRunsAllocateNothing(packed::MakeExampleModel(1));
  for (const uint64_t seed : TestSeeds(10)) {
    for (const bool graphs : {false, true}) {
      CheckThatRunsAllocateNothing(MakeRandomModel(seed, {.graphs = graphs}));
      CheckThatRunsAllocateNothing(MakeRandomI8Model(seed, {.graphs = graphs}));
    }
  }
}

packed::Model WithFrontEnd(int32_t fft_samples) {
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end = FrontEnd{.window_samples = 512,
                             .fft_samples = fft_samples,
                             .mel_count = model.input.height,
                             .frame_count = model.input.width};
  return model;
}

std::vector<float> LogitsOf(const Engine& engine, const std::vector<float>& samples) {
  std::vector<float> y(static_cast<size_t>(engine.output_count()));
  engine.RunPcm(samples, y);
  return y;
}

std::vector<float> Samples() {
  std::vector<float> samples(16000);
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<float>(i * i % 101) / 101 - 0.5f;
  return samples;
}

TEST(Allocation, NoneInRunPcmNotEvenInTheFirst) {
  const std::vector<float> samples = Samples();
  for (const int threads : {1, 2}) {
    const Engine a = EngineAccess::FromModel(WithFrontEnd(1024), {.threads = threads});
    const Engine b = EngineAccess::FromModel(WithFrontEnd(512), {.threads = threads});
    std::vector<float> y(static_cast<size_t>(a.output_count()));
    std::vector<float> features(static_cast<size_t>(a.input_shape().elements()));
    int64_t in_thread = -1;
    std::thread([&] {  // a new one: nothing is the thread's own
      const int64_t before = allocations;
      a.RunPcm(samples, y);
      b.RunPcm(samples, y);
      a.ComputeFeatures(samples, features);
      a.RunPcm(samples, y);
      in_thread = allocations - before;
    })
        .join();
    EXPECT_EQ(in_thread, 0) << "threads " << threads;
  }
}

/// Calls with the first, second … allocation of this thread failing, until none is left to fail; returns how many there
/// were. A call that returns nonetheless (std::stable_sort does with less) has done its work.
template <class Call>
int64_t FailEach(const Call& call) {
  for (int64_t i = 0;; ++i) {
    until_failure = i;
    try {
      call();
    } catch (const std::bad_alloc&) {
    }
    const bool met = until_failure < 0;
    until_failure = -1;
    if (!met) return i;
  }
}

TEST(Allocation, NoneInAStreamAfterItsStart) {
  for (const int threads : {1, 2}) {
    const Engine engine = EngineAccess::FromModel(WithFrontEnd(1024), {.threads = threads});
    const std::vector<float> sound(100'000, 0.25f);
    const std::vector<int16_t> ints(sound.size(), 1000);
    Stream stream = engine.NewStream({});
    int64_t windows = 0;
    const auto count = [&windows](const StreamWindow&) { ++windows; };
    const int64_t before = allocations;
    for (size_t at = 0; at < sound.size(); at += 1000) {
      stream.Push(std::span(sound).subspan(at, 1000), count);
      stream.Push(std::span(ints).subspan(at, 1000), count);
    }
    EXPECT_EQ(allocations, before) << "threads " << threads;
    EXPECT_GT(windows, 10);
  }
}

TEST(Allocation, AFailedOneLeavesNothingBehindAndChangesNothing) {
  const std::vector<float> samples = Samples();
  const Engine a = EngineAccess::FromModel(WithFrontEnd(1024));
  const packed::Model other = WithFrontEnd(512);
  const std::vector<float> expected = LogitsOf(a, samples);
  const std::vector<float> others = LogitsOf(EngineAccess::FromModel(other), samples);
  int64_t wrong = 0;
  const int64_t before = alive;
  const int64_t points = FailEach([&] {
    const std::vector<float> y = LogitsOf(EngineAccess::FromModel(other), samples);
    if (y != others) ++wrong;
  });
  EXPECT_EQ(alive, before);
  EXPECT_GT(points, 100);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(LogitsOf(a, samples), expected);
}

TEST(Allocation, ManyCallersAtOnceAreNotKeptFor) {
  const packed::Model model = WithFrontEnd(1024);
  const std::vector<float> samples = Samples();
  const Engine engine = EngineAccess::FromModel(model);
  const std::vector<float> expected = LogitsOf(engine, samples);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 100; ++caller) {
    callers.emplace_back([&, caller] {
      std::vector<float> y(expected.size());
      for (int i = 0; i < 3; ++i) {
        // One of three is told that there is no memory; it keeps nothing from the others.
        until_failure = caller % 3 == 0 ? 0 : -1;
        try {
          engine.RunPcm(samples, y);
          if (y != expected) ++wrong;
        } catch (const std::bad_alloc&) {
        }
        until_failure = -1;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(LogitsOf(engine, samples), expected);
}

}  // namespace
}  // namespace bisparse
