// SPDX-License-Identifier: Apache-2.0
// The signal's handler writes to a pipe that poll() looks at: a flag alone could be set just before poll() begins to wait.
// Read first: stop.h.
#include "apps/support/stop.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "apps/support/program.h"
#include "deploy/base/file.h"

namespace bisparse::apps {
namespace {

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // for the signal handler
int stop_pipe[2] = {-1, -1};

void RequestStop(int) {
  if (stop_requested.exchange(true)) ::_exit(kExitStopped);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = ::write(stop_pipe[1], "", 1);
  errno = error;
}

}  // namespace

void StopOnSignals() {
  if (::pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
    FailErrno("signals", "no pipe can be made", errno);
  }
  OnStopSignals(RequestStop);
}

bool StopRequested() { return stop_requested; }

bool WaitOrStop(int file, int timeout_ms) {
  pollfd files[] = {{.fd = file, .events = POLLIN, .revents = 0},
                    {.fd = stop_pipe[0], .events = POLLIN, .revents = 0}};
  ::poll(files, 2, timeout_ms);  // a signal that ends it early does no harm: callers wait again
  return !stop_requested;
}

}  // namespace bisparse::apps
