// SPDX-License-Identifier: Apache-2.0
// Parameters of the log-mel front end: everything that decides which features a clip becomes. The same struct is filled
// from YAML for training, stored in the model file, and used by the engine. So what is deployed computes the features
// that were trained; a mismatch there is the commonest failure in the field. Computed by: deploy/frontend/log_mel.h.
#ifndef BISPARSE_DEPLOY_FRONTEND_FRONT_END_H_
#define BISPARSE_DEPLOY_FRONTEND_FRONT_END_H_

#include <cstdint>

namespace bisparse {

/// Where a clip that is too long is cut, and where one that is too short is padded.
enum class ClipAlign : uint8_t { kStart, kCenter, kEnd };

/// What is subtracted from (and divided out of) the log-mel features of each clip.
enum class FeatureNorm : uint8_t {
  kNone,
  kBandMean,     ///< each mel band's mean over the clip's frames (cepstral mean normalisation on
                 ///< log-mel)
  kClipMean,     ///< one mean over the clip
  kClipMeanStd,  ///< one mean and standard deviation over the clip
};

struct FrontEnd {
  int32_t sample_rate_hz = 16000;
  int32_t clip_samples = 16000;  ///< samples of a clip after padding or cutting
  ClipAlign align = ClipAlign::kCenter;
  int32_t window_samples = 1024;  ///< Hann window, <= fft_samples
  int32_t hop_samples = 512;
  int32_t fft_samples = 1024;  ///< even
  int32_t mel_count = 32;      ///< height of the feature map
  int32_t frame_count = 32;  ///< width; frame t is centred at sample t·hop (zeros outside the clip)
  float low_hz = 20.0f, high_hz = 7600.0f;
  float log_floor = 1e-6f;  ///< feature = log(power + log_floor)
  FeatureNorm norm = FeatureNorm::kBandMean;
  float offset = 0.0f, scale = 1.0f;  ///< last of all: feature = (feature − offset) · scale
  bool operator==(const FrontEnd&) const = default;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_FRONT_END_H_
