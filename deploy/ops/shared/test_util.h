// SPDX-License-Identifier: Apache-2.0
// What kernel tests share: every instruction set in turn (for_each_isa.h), guarded buffers, seeded random numbers.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_TEST_UTIL_H_
#define BISPARSE_DEPLOY_OPS_SHARED_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cfenv>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "deploy/simd/for_each_isa.h"

namespace bisparse::kernels {

/// Calls `check` once in each mode of floats that a host may set: every rounding, then with subnormal numbers flushed.
/// `check` computes; what it got is compared afterwards, in the standard mode.
template <class Check>
void ForEachFloatMode(const Check& check) {
  for (const int rounding : {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    ASSERT_EQ(std::fesetround(rounding), 0);
    check();
    ASSERT_EQ(std::fegetround(), rounding) << "the host's mode was changed";
    std::fesetround(FE_TONEAREST);
  }
#if defined(__x86_64__)
  const uint32_t before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040);
  check();
  __builtin_ia32_ldmxcsr(before);
#endif
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  /// From low to high, both included.
  int32_t Int(int32_t low, int32_t high) {
    const int64_t values = int64_t{high} - low + 1;
    return static_cast<int32_t>(low +
                                static_cast<int64_t>(engine_() % static_cast<uint64_t>(values)));
  }
  float Normal() { return normal_(engine_); }
  std::vector<float> Normals(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = Normal();
    return values;
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

/// n elements that may be written, then a guard that may not: check Intact() afterwards.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : n_(static_cast<size_t>(n)), values_(n_ + kGuard, T(-12345)) {}
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  T operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }
  bool Intact() const {
    for (size_t i = n_; i < values_.size(); ++i) {
      if (values_[i] != T(-12345)) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;
  size_t n_;
  std::vector<T> values_;
};

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_TEST_UTIL_H_
