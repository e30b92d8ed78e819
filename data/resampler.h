// SPDX-License-Identifier: Apache-2.0
// Mono sound from one rate to another, in pieces: y[n] is the sound at time n / to_hz, for all n < samples · to_hz / from_hz.
// The sinc converters of libsamplerate do the work. They get blocks of one size, so the same samples come out bit for bit
// however the pieces were cut. Before and after the sound there is silence.
// Read first: audio.h. Tested in: resampler_test.cc.
#ifndef BISPARSE_DATA_RESAMPLER_H_
#define BISPARSE_DATA_RESAMPLER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct SRC_STATE_tag;  // libsamplerate's

namespace bisparse::data {

enum class ResamplingQuality {
  kBest,    ///< what recordings are read with
  kMedium,  ///< a third of the time; errors of −120 dB
};

class Resampler {
 public:
  /// Throws Error (kData), which names `name`, where the rates are not positive or differ by more than a factor of 256.
  Resampler(const std::string& name, int32_t from_hz, int32_t to_hz,
            ResamplingQuality quality = ResamplingQuality::kBest);

  /// Appends what is known of y to `out`: at most a block and half a filter are held back.
  void Push(std::span<const float> samples, std::vector<float>& out);
  /// Appends the rest. The next sample pushed is the first of another sound.
  void Finish(std::vector<float>& out);

 private:
  struct Delete {
    void operator()(SRC_STATE_tag* state) const;
  };
  void ConvertBlock(std::vector<float>& out);

  std::string name_;
  int32_t from_hz_, to_hz_;
  std::unique_ptr<SRC_STATE_tag, Delete> state_;
  std::vector<float> block_, converted_;
  size_t in_block_ = 0;            ///< samples of block_ that are there
  int64_t taken_ = 0, given_ = 0;  ///< samples of this sound
};

/// A whole sound: Push and Finish.
std::vector<float> Resampled(const std::string& name, std::span<const float> samples,
                             int32_t from_hz, int32_t to_hz,
                             ResamplingQuality quality = ResamplingQuality::kBest);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_RESAMPLER_H_
