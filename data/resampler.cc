// SPDX-License-Identifier: Apache-2.0
// Read first: resampler.h.
#include "data/resampler.h"

#include <samplerate.h>

#include <algorithm>

#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

/// 5 ms at 48 kHz, which a microphone waits for.
constexpr size_t kBlockSamples = 256;
constexpr size_t kConvertedSamples = 4096;

}  // namespace

void Resampler::Delete::operator()(SRC_STATE_tag* state) const { src_delete(state); }

Resampler::Resampler(const std::string& name, int32_t from_hz, int32_t to_hz,
                     ResamplingQuality quality)
    : name_(name),
      from_hz_(from_hz),
      to_hz_(to_hz),
      block_(kBlockSamples),
      converted_(kConvertedSamples) {
  if (from_hz <= 0 || to_hz <= 0 || src_is_valid_ratio(static_cast<double>(to_hz) / from_hz) == 0) {
    Fail(ErrorKind::kData, name,
         "sample rate {} Hz cannot be resampled to {} Hz (at most 256-fold)", from_hz, to_hz);
  }
  int error = 0;
  state_.reset(
      src_new(quality == ResamplingQuality::kBest ? SRC_SINC_BEST_QUALITY : SRC_SINC_MEDIUM_QUALITY,
              /*channels=*/1, &error));
  if (state_ == nullptr) {
    Fail(ErrorKind::kInternal, name, "no converter of sample rates: {}", src_strerror(error));
  }
}

void Resampler::Push(std::span<const float> samples, std::vector<float>& out) {
  taken_ += std::ssize(samples);
  while (!samples.empty()) {
    const size_t count = std::min(samples.size(), block_.size() - in_block_);
    std::copy_n(samples.begin(), count, block_.begin() + static_cast<std::ptrdiff_t>(in_block_));
    samples = samples.subspan(count);
    in_block_ += count;
    if (in_block_ == block_.size()) ConvertBlock(out);
  }
}

void Resampler::Finish(std::vector<float>& out) {
  // Counted in whole numbers: the converter's own end depends on how its sums of 1 / ratio were rounded.
  const int64_t all = taken_ / from_hz_ * to_hz_ + taken_ % from_hz_ * to_hz_ / from_hz_;
  while (given_ < all) {
    std::fill(block_.begin() + static_cast<std::ptrdiff_t>(in_block_), block_.end(), 0.0f);
    ConvertBlock(out);
  }
  out.resize(out.size() - static_cast<size_t>(given_ - all));
  src_reset(state_.get());
  in_block_ = 0;
  taken_ = given_ = 0;
}

void Resampler::ConvertBlock(std::vector<float>& out) {
  SRC_DATA conversion = {};
  conversion.data_in = block_.data();
  conversion.input_frames = static_cast<long>(block_.size());
  conversion.data_out = converted_.data();
  conversion.output_frames = static_cast<long>(converted_.size());
  conversion.src_ratio = static_cast<double>(to_hz_) / from_hz_;
  do {
    if (const int error = src_process(state_.get(), &conversion); error != 0) {
      Fail(ErrorKind::kData, name_, "resampling from {} Hz to {} Hz failed: {}", from_hz_, to_hz_,
           src_strerror(error));
    }
    out.insert(out.end(), converted_.begin(), converted_.begin() + conversion.output_frames_gen);
    given_ += conversion.output_frames_gen;
    conversion.data_in += conversion.input_frames_used;
    conversion.input_frames -= conversion.input_frames_used;
  } while (conversion.input_frames > 0 || conversion.output_frames_gen == conversion.output_frames);
  in_block_ = 0;
}

std::vector<float> Resampled(const std::string& name, std::span<const float> samples,
                             int32_t from_hz, int32_t to_hz, ResamplingQuality quality) {
  std::vector<float> out;
  Resampler resampler(name, from_hz, to_hz, quality);
  resampler.Push(samples, out);
  resampler.Finish(out);
  return out;
}

}  // namespace bisparse::data
