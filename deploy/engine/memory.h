// SPDX-License-Identifier: Apache-2.0
// Gives out places of one arena by lifetime: two things that are never needed at the same time may share bytes.
// Read first: plan.h. Tested in: memory_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_MEMORY_H_
#define BISPARSE_DEPLOY_ENGINE_MEMORY_H_

#include <cstdint>
#include <vector>

namespace bisparse {

class Arena {
 public:
  /// A place of so many bytes that is needed during [first, last], both included: the lowest one that is free then. It begins
  /// at a multiple of 64; sizes saturate.
  int64_t Take(int64_t bytes, int64_t first, int64_t last);
  /// Of all places, a multiple of 64.
  int64_t bytes() const { return bytes_; }

 private:
  struct Taken {
    int64_t begin, end, first, last;
  };
  std::vector<Taken> taken_;  ///< by begin
  int64_t bytes_ = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_MEMORY_H_
