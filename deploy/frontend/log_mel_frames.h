// SPDX-License-Identifier: Apache-2.0
// log(power + log_floor) of each mel band of several frames, side by side in the lanes of vectors:
//
//   out[m][n] = log(Σ_f filter[m][f] · |rfft(window · frame_n)[f]|² + log_floor)
//
// Up to 4, 8 or 16 frames a pass, where vectors are that wide. A frame has the same bits on every instruction set, in any
// lane, whatever is computed with it (lanes_fft-inl.h says why).
// Bound: additions. A pass of 1024 samples and 32 bands has 16,253 vector additions and 9,637 multiplications; at two
// additions a cycle 8,130 cycles. Measured on Zen 5: 15,000 with 4 lanes, 24,000 with 16, whose 98 KB
// exceed the first-level cache (docs/decisions/0016-front-end-in-vectors.md).
// Read first: log_mel.h, lanes_fft-inl.h. Tested in: log_mel_frames_test.cc.
#ifndef BISPARSE_DEPLOY_FRONTEND_LOG_MEL_FRAMES_H_
#define BISPARSE_DEPLOY_FRONTEND_LOG_MEL_FRAMES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "deploy/frontend/fft_plan.h"

namespace bisparse {

/// A row of the filter bank: weights of the bins [begin, begin + weights.size()).
struct MelBand {
  int64_t begin = 0;
  std::vector<float> weights;
};

/// What all frames share.
struct LogMelTables {
  /// window: factors of a frame's samples, centred in the fft_samples.
  LogMelTables(int32_t fft_samples, std::span<const float> window, std::vector<MelBand> bands,
               float log_floor);

  FftPlan fft;
  std::vector<float> window;  ///< then zeros to a multiple of four
  int64_t window_samples;
  std::vector<int32_t> row_w;      ///< where window sample w goes: a row is one vector
  std::vector<int32_t> zero_rows;  ///< rows that no window sample goes to
  std::vector<MelBand> bands;      ///< weights by 1/4: for |2·X|²
  float log_floor;
};

/// Floats that LogMelFramesF32 works in.
int64_t LogMelFramesWork(const LogMelTables& tables);

/// out[m · stride + n] is out[m][n], n < frames. frame_n: pointers to window_samples samples each. work: at a 64-byte
/// boundary.
void LogMelFramesF32(const LogMelTables& tables, const float* const* frame_n, int64_t frames,
                     float* work, float* out, int64_t stride) noexcept;

/// y[i] = log(x[i]), x[i] > 0, as the features take it.
void LogF32(const float* x, int64_t n, float* y) noexcept;

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_FRONTEND_LOG_MEL_FRAMES_H_
