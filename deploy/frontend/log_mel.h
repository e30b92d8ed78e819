// SPDX-License-Identifier: Apache-2.0
// Computes a clip's log-mel features, the one implementation for training and deployment:
//   power[m][t] = Σ_f filter[m][f] · |rfft(hann · frame_t)[f]|²
//   features[m][t] = (norm(log(power[m][t] + log_floor)) − offset) · scale
// with m in [0, mel_count), t in [0, frame_count), f in [0, fft_samples/2].
// The clip is first padded with zeros or cut to clip_samples (`align` says where); frame t is
// centred at sample t·hop, with zeros outside the clip. The Hann window is periodic; the filters
// are triangles of height 1, their corners equally spaced on the scale 2595·log10(1 + f/700).
// Read first: front_end.h. Tested in: log_mel_test.cc.
#ifndef BISPARSE_DEPLOY_FRONTEND_LOG_MEL_H_
#define BISPARSE_DEPLOY_FRONTEND_LOG_MEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/frontend/front_end.h"

namespace bisparse {

/// What is wrong with the parameters, one sentence a fault; empty if nothing is.
std::vector<std::string> FrontEndFaults(const FrontEnd& front_end);

/// Index into a clip of `sample_count` samples that becomes sample 0 after padding or cutting to
/// `clip_samples`; negative where silence is put before it.
int64_t ClipStart(ClipAlign align, int64_t sample_count, int64_t clip_samples);

/// In size. The largest spectrum is 2^16 samples of this one, its power 2^112, and 2^15 of those still are a float.
inline constexpr float kLargestSample = 0x1p40f;

class LogMel {
 public:
  /// Throws Error (kConfiguration) that lists all faults of the parameters. `callers`: so many at a time find their
  /// memory ready; more of them allocate, and what as many of them needed as there are cores is kept.
  explicit LogMel(const FrontEnd& front_end, int callers = 1);
  LogMel(LogMel&&) noexcept;
  LogMel& operator=(LogMel&&) noexcept;
  ~LogMel();

  const FrontEnd& front_end() const;
  /// {mel_count, frame_count, 1}
  Shape shape() const;

  /// samples: mono in [-1, 1] at sample_rate_hz, any number of them; features_mt: shape().elements() floats.
  /// Throws Error (kData) with the index of the first sample that is NaN, infinite or beyond kLargestSample.
  /// Thread-safe. Keeps nothing in the thread. Throws std::bad_alloc, and nothing has changed then.
  void Compute(std::span<const float> samples, std::span<float> features_mt) const;

  /// For streams, whose windows share frames: Compute in two halves. What one caller works in; not for two at a time.
  class Workspace;
  struct DeleteWorkspace {
    void operator()(Workspace* workspace) const noexcept;
  };
  std::unique_ptr<Workspace, DeleteWorkspace> MakeWorkspace() const;
  /// Frames t_n of the clip that `samples` are (clip_samples of them), side by side: features_mn[m][n] is
  /// log(power + log_floor) of band m in frame t_n[n]. A frame has the same bits whichever are computed with it.
  /// Throws nothing.
  void ComputeFrames(std::span<const float> samples, std::span<const int32_t> t_n,
                     Workspace& workspace, std::span<float> features_mn) const noexcept;
  /// The frames [begin, end) whose windows lie inside a clip: they see the same samples in every clip that holds those.
  struct Frames {
    int32_t begin = 0, end = 0;
  };
  Frames InnerFrames() const;
  /// Normalisation, offset and scale, of all frames' bands.
  void Finish(std::span<float> features_mt) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_LOG_MEL_H_
