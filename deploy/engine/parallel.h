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
#include <memory>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace bisparse {

/// Tells ThreadSanitizer what TBB orders: what was done before a parallel loop is seen by its parts,
/// what they did by whoever waited for them. It can't see that itself: Debian's TBB is not built for
/// it. Nothing otherwise.
class ParallelOrder {
 public:
#if defined(__SANITIZE_THREAD__)
  ParallelOrder() { __tsan_release(&begin_); }
  ~ParallelOrder() { __tsan_acquire(&end_); }
  // Static: a part must not read its own closure before.
  static void PartBegins() { __tsan_acquire(&begin_); }
  static void PartEnds() { __tsan_release(&end_); }

 private:
  static inline char begin_ = 0, end_ = 0;
#else
  ParallelOrder() {}
  static void PartBegins() {}
  static void PartEnds() {}
#endif
};

/// fork() leaves the child without TBB's threads, while TBB believes that they are there, perhaps with a lock that nobody
/// will release. Engines of one thread don't reach TBB.
bool ThreadsWereLostToFork();

class Parallel {
 public:
  explicit Parallel(int threads);
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;
  ~Parallel();

  /// Throws Error (kConfiguration) in a child that was forked from the process that made this.
  void CheckProcess(const char* function) const;

  /// f(begin, end, slot) on parts of [0, count) that begin at multiples of `grain`; slot < threads is nobody else's
  /// meanwhile. About four parts a thread even out what cores differ in.
  template <class F>
  void For(int64_t count, int64_t grain, const F& f) {
    const int64_t grains = (count + grain - 1) / grain;
    const int64_t parts = std::min<int64_t>(grains, int64_t{4} * threads_);
    const auto part = [&](int64_t i) {
      ParallelOrder::PartBegins();
      f(grains * i / parts * grain, std::min(count, grains * (i + 1) / parts * grain),
        tbb::this_task_arena::current_thread_index());
      ParallelOrder::PartEnds();
    };
    const ParallelOrder order;  // after what the parts read, their closure as well
    arena_->execute([&] { tbb::parallel_for(int64_t{0}, parts, part, tbb::simple_partitioner()); });
  }

  tbb::task_arena& arena() { return *arena_; }

 private:
  std::unique_ptr<tbb::task_arena> arena_;  // private: an engine's threads are its own
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
