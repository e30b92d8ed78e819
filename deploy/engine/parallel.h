// SPDX-License-Identifier: Apache-2.0
// An engine's threads, for one sample's work on a large layer. Tested in: engine_test.cc, engine_i8_test.cc
// (the same bits for any number of threads).
#ifndef BISPARSE_DEPLOY_ENGINE_PARALLEL_H_
#define BISPARSE_DEPLOY_ENGINE_PARALLEL_H_

#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstdint>

namespace bisparse {

class Parallel {
 public:
  explicit Parallel(int threads) : arena_(threads), threads_(threads) {}

  /// f(begin, end, slot) on parts of [0, count) that begin at multiples of `grain`; slot < threads is nobody else's
  /// meanwhile. About four parts a thread even out what cores differ in.
  template <class F>
  void For(int64_t count, int64_t grain, const F& f) {
    const int64_t grains = (count + grain - 1) / grain;
    const int64_t parts = std::min<int64_t>(grains, int64_t{4} * threads_);
    const auto part = [&](int64_t i) {
      f(grains * i / parts * grain, std::min(count, grains * (i + 1) / parts * grain),
        tbb::this_task_arena::current_thread_index());
    };
    arena_.execute([&] { tbb::parallel_for(int64_t{0}, parts, part, tbb::simple_partitioner()); });
  }

  tbb::task_arena& arena() { return arena_; }

 private:
  tbb::task_arena arena_;  // private: an engine's threads are its own
  const int threads_;
};

/// For where there are threads and the step is worth it, else f(0, count, 0).
template <class F>
void SplitOver(Parallel* parallel, bool worth_it, int64_t count, int64_t grain, const F& f) {
  if (parallel == nullptr || !worth_it) return f(0, count, 0);
  parallel->For(count, grain, f);
}

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_PARALLEL_H_
