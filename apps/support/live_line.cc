// SPDX-License-Identifier: Apache-2.0
// Read first: live_line.h.
#include "apps/support/live_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/base/utf8.h"

namespace bisparse::apps {
namespace {

constexpr int kBarWidth = 20;
constexpr double kQuietestDb = -60, kSilenceDb = -200;
constexpr std::chrono::milliseconds kInterval{100};

/// The beginning of `text` that takes at most `width` columns; `text` is UTF-8. `columns` becomes what it takes.
std::string_view Cut(std::string_view text, int width, int& columns) {
  size_t at = 0;
  columns = 0;
  while (at < text.size()) {
    const size_t length = std::max<size_t>(Utf8Sequence(text.substr(at)), 1);
    const int wider = length == 1 ? 1 : 2;
    if (columns + wider > width) break;
    columns += wider;
    at += length;
  }
  return text.substr(0, at);
}

int TerminalWidth() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string RenderLiveLine(double level_db, std::string_view word, double probability, int width) {
  const double level = std::clamp(level_db, kSilenceDb, 99.0);
  const double bar = std::clamp(1 - level / kQuietestDb, 0.0, 1.0);
  const auto filled = static_cast<int>(std::lround(bar * kBarWidth));
  std::string line =
      fmt::format("[{:#<{}}{:-<{}}] {:4.0f} dB  ", "", filled, "", kBarWidth - filled, level);
  const std::string percent = fmt::format(" {:.0f} %", 100 * probability);
  const std::string shown = Shown(word);
  const int room = width - static_cast<int>(line.size() + percent.size());
  int columns = 0;
  if (Cut(shown, room, columns).size() == shown.size()) {
    line += shown;
  } else {
    line += Cut(shown, room - 1, columns);
    line += '~';
  }
  line += percent;
  return std::string(Cut(line, std::max(width, 0), columns));
}

LiveLine::LiveLine(bool wanted) : on_(wanted && ::isatty(STDERR_FILENO) == 1) {}

bool LiveLine::Hear(double rms) {
  loudest_rms_ = std::max(loudest_rms_, rms);
  return Clock::now() >= next_draw_;
}

void LiveLine::Draw(std::string_view word, double probability) {
  const double db = loudest_rms_ > 0 ? 20 * std::log10(loudest_rms_) : kSilenceDb;
  std::fputc('\r', stderr);
  // The last column stays free: some terminals go on to the next line after it.
  WriteRemark(stderr, RenderLiveLine(db, word, probability, TerminalWidth() - 1));
  std::fputs("\x1b[K", stderr);  // what a longer line left (ECMA-48, EL)
  std::fflush(stderr);
  drawn_ = true;
  loudest_rms_ = 0;
  next_draw_ = Clock::now() + kInterval;
}

void LiveLine::Clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  std::clearerr(stderr);
  drawn_ = false;
}

}  // namespace bisparse::apps
