// SPDX-License-Identifier: Apache-2.0
// Whether a recording is whole. libsndfile reads what is there, mends the header's length silently and says so in its
// log. That log is read here, so that no second parser stands beside its own.
// For audio.cc. Tested in: audio_test.cc.
#ifndef BISPARSE_DATA_RECORDING_LENGTH_H_
#define BISPARSE_DATA_RECORDING_LENGTH_H_

#include <sndfile.h>

#include <cstdint>
#include <string>

namespace bisparse::data {

/// "12 of 32 bytes are missing" and so on: what the header promises and the file does not hold; empty
/// if nothing is missing, or no more than a miscount. `samples`: how many came out of each channel.
std::string MissingSound(SNDFILE* file, const SF_INFO& format, int descriptor, int64_t samples);

/// Where the length of a RIFF file's data stands, if its writer never filled in the lengths, else −1. A writer that could
/// not go back or was killed leaves both as they were at the beginning: 0, or that of an empty file. libsndfile reads
/// such a file as empty.
int64_t UnfinishedWavLength(int descriptor);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_RECORDING_LENGTH_H_
