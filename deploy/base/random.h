// SPDX-License-Identifier: Apache-2.0
// Random numbers that are a pure function of (seed, stream, how many were drawn): the same on every
// machine and in any order of work. A stream names what the numbers are for, e.g. {kOwners, layer}
// or {epoch, clip}.
//
//   state_0 = mix(… mix(mix(seed) + golden·(stream_0 + 1)) …),   number_i = mix(state_0 +
//   i·golden),  i = 1, 2 …
//
// std's distributions are not portable, libm's log and cos neither: everything here is integer
// arithmetic and exact conversions. Source: splitmix64 (Steele, Lea, Flood 2014); Below: Lemire
// 2019. Tested in: random_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_RANDOM_H_
#define BISPARSE_DEPLOY_BASE_RANDOM_H_

#include <cstdint>
#include <initializer_list>

namespace bisparse {

/// The finaliser of splitmix64: a bijection in which every input bit moves half of the output bits.
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

class CounterRandom {
 public:
  CounterRandom(uint64_t seed, std::initializer_list<uint64_t> stream)
      : state_(MixBits(seed + kGolden)) {
    for (uint64_t part : stream) state_ = MixBits(state_ + kGolden * (part + 1));
  }

  uint64_t Next() { return MixBits(state_ += kGolden); }

  /// Uniform in 0 … n − 1, each equally likely; n > 0.
  uint32_t Below(uint32_t n) {
    // The product's upper half is the number; the few lower halves that would favour some are drawn
    // again.
    const uint32_t refused = static_cast<uint32_t>(-n) % n;
    for (;;) {
      const uint64_t product = (Next() >> 32) * n;
      if (static_cast<uint32_t>(product) >= refused) return static_cast<uint32_t>(product >> 32);
    }
  }

  /// Uniform in [0, 1), a multiple of 2^-24 (exact in a float).
  float Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-24f; }

  /// Mean 0, variance 1, |x| < 6: the sum of 12 uniform numbers of 16 bits. Their sum's variance is
  /// 12·(2^32 − 1)/12 = 65536² − 1, hence the scale; its kurtosis is 2.9 where the normal
  /// distribution's is 3.
  float Normal() {
    int32_t sum = 0;
    for (int draw = 0; draw < 3; ++draw) {
      const uint64_t bits = Next();
      for (int shift = 0; shift < 64; shift += 16)
        sum += static_cast<int32_t>((bits >> shift) & 0xFFFF);
    }
    return static_cast<float>(sum - 6 * 65535) * 0x1p-16f;
  }

 private:
  static constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio, odd
  uint64_t state_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_RANDOM_H_
