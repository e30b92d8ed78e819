// SPDX-License-Identifier: Apache-2.0
// A progress bar with the time left:
//   train [############------------]  1200/2400  0:31, 0:31 left  loss 0.21
// On a terminal one line that is drawn again at most ten times a second; elsewhere (a log, a pipe)
// a line at most every 10 seconds. For the programs: libraries draw only on a stream that they were
// given. Tested in: progress_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_PROGRESS_H_
#define BISPARSE_DEPLOY_BASE_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace bisparse {

class ProgressBar {
 public:
  /// total <= 0: not known, only count and elapsed time are shown. Not thread-safe.
  ProgressBar(std::string label, int64_t total, std::FILE* out = stderr);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  void Update(int64_t done, std::string_view suffix = {});
  /// Draws the last state and ends the line; only the first call counts.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  void Draw(Clock::time_point now);

  std::string label_, suffix_;
  int64_t total_, done_ = 0;
  std::FILE* out_;
  bool terminal_, finished_ = false;
  Clock::time_point start_, last_draw_;
};

/// The line without its end; elapsed in seconds.
std::string FormatProgress(std::string_view label, int64_t done, int64_t total, double elapsed,
                           std::string_view suffix);

/// "0:07", "12:34", "1:02:03".
std::string FormatDuration(double seconds);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_PROGRESS_H_
