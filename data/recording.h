// SPDX-License-Identifier: Apache-2.0
// A recording, block by block: mono at a stated rate, in memory that does not grow with its length.
//   Recording recording("talk.flac", 16000);
//   for (auto block = recording.Next(); !block.empty(); block = recording.Next()) use(block);
// Read first: audio.h, whose ReadAudio is all blocks at once. Tested in: recording_test.cc, audio_test.cc.
#ifndef BISPARSE_DATA_RECORDING_H_
#define BISPARSE_DATA_RECORDING_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace bisparse::data {

class Recording {
 public:
  /// target_rate_hz = 0 keeps the file's rate. A pipe is read to its end and kept in memory. Throws Error (kData) where
  /// the file cannot be opened or its rate not be resampled.
  Recording(const std::string& path, int32_t target_rate_hz);
  Recording(Recording&&) noexcept;
  ~Recording();

  /// The next samples, until the next call; empty at the end. They lie in [-1, 1], resampled ones a little beyond. Throws Error (kData) where the file is broken, cut
  /// short, not finite or empty, after all that could be read before that.
  std::span<const float> Next();
  /// From the beginning; the mean of the channels, or one alone (from 1).
  void Restart(int32_t only_channel = 0);

  int32_t channels() const;
  int32_t sample_rate_hz() const;  ///< of what Next gives
  /// The largest magnitude so far, before samples above full scale were clipped.
  double peak() const;
  /// Number (from 1) of the loudest channel where the channels so far cancel each other out in their mean, else 0.
  int32_t LoudestOfCancelling() const;
  /// Reads a recording of several channels to its end and restarts it with that channel.
  int32_t RestartWithoutCancelling();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_RECORDING_H_
