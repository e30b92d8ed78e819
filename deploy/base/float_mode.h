// SPDX-License-Identifier: Apache-2.0
// StandardFloatMode: while one lives, this thread's floats round to nearest, keep subnormal numbers and raise no signal.
// A host may have changed any of these; what is promised to the bit must not depend on it. The compiler does not know
// that arithmetic depends on the mode: call a function of another file, or through a pointer, while it lives.
// Tested in: float_mode_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_FLOAT_MODE_H_
#define BISPARSE_DEPLOY_BASE_FLOAT_MODE_H_

#include <cfenv>
#include <cstdint>

namespace bisparse {

class StandardFloatMode {
 public:
  StandardFloatMode() noexcept : before_(Read()) {
    if (!IsStandard(before_)) Write(kStandard);
  }
  ~StandardFloatMode() {
    if (!IsStandard(before_)) Write(before_);
  }
  StandardFloatMode(const StandardFloatMode&) = delete;
  StandardFloatMode& operator=(const StandardFloatMode&) = delete;

 private:
#if defined(__x86_64__)
  // MXCSR. Bits 0 to 5 only report; all exceptions are masked.
  static constexpr uint64_t kStandard = 0x1F80;
  static bool IsStandard(uint64_t mode) { return (mode & ~uint64_t{0x3F}) == kStandard; }
  static uint64_t Read() { return __builtin_ia32_stmxcsr(); }
  static void Write(uint64_t mode) { __builtin_ia32_ldmxcsr(static_cast<uint32_t>(mode)); }
#elif defined(__aarch64__)
  // FPCR.
  static constexpr uint64_t kStandard = 0;
  static bool IsStandard(uint64_t mode) { return mode == kStandard; }
  static uint64_t Read() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Write(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#else
  static constexpr uint64_t kStandard = FE_TONEAREST;
  static bool IsStandard(uint64_t mode) { return mode == kStandard; }
  static uint64_t Read() { return static_cast<uint64_t>(std::fegetround()); }
  static void Write(uint64_t mode) { std::fesetround(static_cast<int>(mode)); }
#endif

  const uint64_t before_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_FLOAT_MODE_H_
