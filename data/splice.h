// SPDX-License-Identifier: Apache-2.0
// What training makes of recorded words: words cut out of their silence, and words that nobody says.
// Tested in: splice_test.cc.
#ifndef BISPARSE_DATA_SPLICE_H_
#define BISPARSE_DATA_SPLICE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "deploy/base/random.h"

namespace bisparse::data {

/// Where the sound is: from the first to the last piece of 10 ms whose energy is within 30 dB of the loudest. All of a
/// recording without one.
struct SoundPart {
  int64_t begin = 0, end = 0;  ///< samples; end is one past
};
SoundPart FindSound(int32_t sample_rate_hz, std::span<const float> samples);

/// Makes digital silence of what is further than margin_ms from FindSound's part, with a slope of 10 ms.
void Trim(int32_t sample_rate_hz, double margin_ms, std::span<float> samples);

/// The first half of one word, then the second half of another: cut at a random place in the middle third of each one's
/// sound, equally loud on average, 10 ms of both at the seam. `out` is as long as what there is of both.
void Splice(CounterRandom& random, int32_t sample_rate_hz, std::span<const float> first,
            std::span<const float> second, std::vector<float>& out);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SPLICE_H_
