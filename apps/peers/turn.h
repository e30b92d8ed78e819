// SPDX-License-Identifier: Apache-2.0
// One engine's turn in an interleaved benchmark. Used by the benchmark for our engine and by every
// peer's program, so that all are timed alike (onnxruntime.js does the same in JavaScript).
#ifndef BISPARSE_APPS_PEERS_TURN_H_
#define BISPARSE_APPS_PEERS_TURN_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace bisparse::peers {

/// Untimed calls at the start of a turn: caches hold the last engine's weights, threads sleep.
inline constexpr double kTurnStartUs = 1000;

/// Repeats call() for kTurnStartUs (once at least) unseen, then for budget_us (once at least), and
/// appends the time of each call to call_us.
template <typename Call>
void TimeTurn(double budget_us, Call&& call, std::vector<double>& call_us) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  };
  auto start = Clock::now();
  do {
    call();
  } while (since(start) < kTurnStartUs);
  start = Clock::now();
  do {
    const auto call_start = Clock::now();
    call();
    call_us.push_back(since(call_start));
  } while (since(start) < budget_us);
}

/// The median of a turn of 50 ms: for a peer that chooses between two ways at start-up.
template <typename Call>
double MedianUs(Call&& call) {
  std::vector<double> call_us;
  TimeTurn(50'000, call, call_us);
  const auto middle = call_us.begin() + static_cast<std::ptrdiff_t>(call_us.size() / 2);
  std::nth_element(call_us.begin(), middle, call_us.end());
  return *middle;
}

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_TURN_H_
