// SPDX-License-Identifier: Apache-2.0
// Work that goes on until the user ends it: it waits for input and for the signal to stop in one call, so that neither is
// missed. Used by: apps/listen.cc. Tested in: tests/programs/listen_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_STOP_H_
#define BISPARSE_APPS_SUPPORT_STOP_H_

namespace bisparse::apps {

inline constexpr int kExitStopped = 130;

/// SIGINT, SIGTERM and SIGHUP ask for a stop from now on, those that the caller ignores excepted. The second one ends the
/// program at once with kExitStopped.
void StopOnSignals();
bool StopRequested();

/// Returns when `file` can be read (−1: there is none), after `timeout_ms` (−1: never), or at a stop. False at a stop.
bool WaitOrStop(int file, int timeout_ms);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_STOP_H_
