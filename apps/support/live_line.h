// SPDX-License-Identifier: Apache-2.0
// What a microphone hears now, in one line of the terminal that is drawn again and again:
//   [############--------]  -24 dB  yes 87 %
// Tested in: tests/programs/live_line_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_LIVE_LINE_H_
#define BISPARSE_APPS_SUPPORT_LIVE_LINE_H_

#include <chrono>
#include <string>
#include <string_view>

namespace bisparse::apps {

/// The line without its end, at most `width` columns. The bar goes from −60 dB of full scale to 0. A word that is too long
/// is cut. A character that is not ASCII counts as two columns, which some are.
std::string RenderLiveLine(double level_db, std::string_view word, double probability, int width);

/// The line on stderr, at most ten times a second. It is drawn where stderr is a terminal and `wanted`.
class LiveLine {
 public:
  explicit LiveLine(bool wanted);
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;
  ~LiveLine() { Clear(); }

  bool on() const { return on_; }
  /// True where it is time to draw; until then `rms` is kept, so that no loud moment is missed.
  bool Hear(double rms);
  void Draw(std::string_view word, double probability);
  /// Before anything else is written to the terminal.
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;
  const bool on_;
  bool drawn_ = false;
  double loudest_rms_ = 0;  ///< since the line was drawn
  Clock::time_point next_draw_;
};

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_LIVE_LINE_H_
