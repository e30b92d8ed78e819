// SPDX-License-Identifier: Apache-2.0
// Read first: memory.h.
#include "deploy/engine/memory.h"

#include <algorithm>

#include "deploy/base/size.h"

namespace bisparse {

int64_t Arena::Take(int64_t bytes, int64_t first, int64_t last) {
  const Size size = Size(bytes).RoundUp(64);
  int64_t begin = 0;
  for (const Taken& other : taken_) {
    if (other.last < first || last < other.first) continue;
    if ((Size(begin) + size).value() <= other.begin) break;  // it fits before that one
    begin = std::max(begin, other.end);
  }
  const int64_t end = (Size(begin) + size).value();
  const auto after = std::upper_bound(taken_.begin(), taken_.end(), begin,
                                      [](int64_t at, const Taken& t) { return at < t.begin; });
  taken_.insert(after, {begin, end, first, last});
  bytes_ = std::max(bytes_, end);
  return begin;
}

}  // namespace bisparse
