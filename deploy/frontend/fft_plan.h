// SPDX-License-Identifier: Apache-2.0
// The plan of a real spectrum: what does not depend on its samples.
//
//   X[k] = Σ_j x[j] · exp(−2πi·jk/N),  j in [0, N), k in [0, N/2]
//
// N = `samples` is even. Neighbouring samples are one complex number, so the transform has H = N/2 points:
// Z = FFT(x[2h] + i·x[2h + 1]), and X[k] follows from Z[k] and Z[H − k] (lanes_fft-inl.h).
// The transform is decimated in time, as KissFFT's: stage 0 joins radix_0 transforms of H/radix_0 points, each of which
// stage 1 makes of smaller ones, down to single points. It works in place: point h is put at place_h[h] first.
// Radices: 4 as often as it divides, then 2, then odd prime factors.
// Read first: lanes_fft-inl.h. Tested in: log_mel_frames_test.cc.
#ifndef BISPARSE_DEPLOY_FRONTEND_FFT_PLAN_H_
#define BISPARSE_DEPLOY_FRONTEND_FFT_PLAN_H_

#include <cstdint>
#include <vector>

namespace bisparse {

struct FftStage {
  int32_t radix = 0;
  int32_t points = 0;  ///< m: of each of the `radix` transforms that it joins
  std::vector<float>
      twiddles;  ///< [m][radix − 1][re, im]: exp(−2πi·jq/(radix·m)) of point j and transform q > 0
  std::vector<float> roots = {};  ///< of an odd radix: [radix][cos, sin] of 2π·q/radix
};

struct FftPlan {
  /// samples: even, at least 2.
  explicit FftPlan(int32_t samples);

  int32_t samples, points;       ///< N, H
  std::vector<FftStage> stages;  ///< the last to be computed first; none where H = 1
  std::vector<int32_t> place_h;
  std::vector<float> untwist;  ///< [H/2 + 1][re, im]: exp(−2πi·k/N)
  int32_t largest_odd_radix = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_FFT_PLAN_H_
