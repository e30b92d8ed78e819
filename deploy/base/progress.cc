// SPDX-License-Identifier: Apache-2.0
// Read first: progress.h.
#include "deploy/base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "deploy/base/print.h"

namespace bisparse {
namespace {

constexpr int kBarWidth = 24;
constexpr std::chrono::milliseconds kTerminalInterval{100};
constexpr std::chrono::seconds kLogInterval{10};

}  // namespace

std::string FormatDuration(double seconds) {
  // A rate that is still unknown gives times without bound; 1000 hours say as much.
  const int64_t whole = std::llround(std::clamp(seconds, 0.0, 3.6e6));
  if (whole >= 3600) {
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string FormatProgress(std::string_view label, int64_t done, int64_t total, double elapsed,
                           std::string_view suffix) {
  std::string line;
  if (total > 0) {
    const int64_t shown = std::clamp<int64_t>(done, 0, total);
    const int filled = static_cast<int>(double(shown) / double(total) * kBarWidth);
    line = fmt::format("{} [{:#<{}}{:-<{}}] {}/{}  {}", label, "", filled, "", kBarWidth - filled,
                       done, total, FormatDuration(elapsed));
    if (shown > 0 && shown < total) {
      const double left = elapsed / double(shown) * double(total - shown);
      line += fmt::format(", {} left", FormatDuration(left));
    }
  } else {
    line = fmt::format("{} {}  {}", label, done, FormatDuration(elapsed));
  }
  if (!suffix.empty()) line += fmt::format("  {}", suffix);
  return line;
}

ProgressBar::ProgressBar(std::string label, int64_t total, std::FILE* out)
    : label_(std::move(label)),
      total_(total),
      out_(out),
      terminal_(::isatty(::fileno(out)) == 1),
      start_(Clock::now()),
      last_draw_(start_) {}

ProgressBar::~ProgressBar() {
  // An exception ends a job half way: leave its line readable above the error.
  if (!finished_ && terminal_) {
    std::fputc('\n', out_);
    std::fflush(out_);
  }
}

void ProgressBar::Update(int64_t done, std::string_view suffix) {
  if (finished_) return;
  done_ = done;
  suffix_ = suffix;
  const Clock::time_point now = Clock::now();
  if (now - last_draw_ >= (terminal_ ? Clock::duration(kTerminalInterval) : kLogInterval))
    Draw(now);
}

void ProgressBar::Finish() {
  if (finished_) return;
  Draw(Clock::now());
  if (terminal_) std::fputc('\n', out_);
  std::fflush(out_);
  finished_ = true;
}

void ProgressBar::Draw(Clock::time_point now) {
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const std::string line = FormatProgress(label_, done_, total_, elapsed, suffix_);
  // Back to the line's start, then clear what a longer line left behind (ECMA-48, EL).
  if (terminal_) std::fputc('\r', out_);
  WriteRemark(out_, terminal_ ? line : line + '\n');
  if (terminal_) std::fputs("\x1b[K", out_);
  std::fflush(out_);
  last_draw_ = now;
}

}  // namespace bisparse
