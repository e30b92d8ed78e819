// SPDX-License-Identifier: Apache-2.0
// Size: how many of something. Sums and products that do not fit 63 bits stay at kMost instead of wrapping, so that one
// comparison at the end tells whether a file asks for too much, whatever its numbers are:
//
//   const Size bytes = Size(height) * width * channels * 4 + 64;
//   if (bytes > limit) Fail(…, "{} bytes", bytes.value());
//
// Used where sizes come from a file: validation, plans, the kernels' scratch. Tested in: size_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_SIZE_H_
#define BISPARSE_DEPLOY_BASE_SIZE_H_

#include <algorithm>
#include <compare>
#include <cstdint>
#include <limits>

namespace bisparse {

class Size {
 public:
  static constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

  /// Negative counts are none.
  constexpr Size(int64_t count)
      : count_(std::max<int64_t>(count, 0)) {}  // NOLINT: numbers are sizes

  constexpr int64_t value() const { return count_; }
  /// Divided by `by`, rounded up; by >= 1.
  constexpr Size CeilDivide(int64_t by) const { return count_ / by + (count_ % by != 0 ? 1 : 0); }
  /// To the next multiple of `to`; to >= 1.
  constexpr Size RoundUp(int64_t to) const { return CeilDivide(to) * to; }

  friend constexpr Size operator+(Size a, Size b) {
    int64_t sum = 0;
    return __builtin_add_overflow(a.count_, b.count_, &sum) ? kMost : sum;
  }
  friend constexpr Size operator*(Size a, Size b) {
    int64_t product = 0;
    return __builtin_mul_overflow(a.count_, b.count_, &product) ? kMost : product;
  }
  constexpr Size& operator+=(Size other) { return *this = *this + other; }
  friend constexpr auto operator<=>(const Size&, const Size&) = default;

 private:
  int64_t count_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_SIZE_H_
