// SPDX-License-Identifier: Apache-2.0
// Read first: print.h.
#include "deploy/base/print.h"

#include <cerrno>

#include "deploy/base/file.h"
#include "deploy/base/show.h"

namespace bisparse {

void WriteResult(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
    FailErrno("stdout", "cannot be written", errno);
  }
}

void FlushResults() {
  if (std::fflush(stdout) != 0) FailErrno("stdout", "cannot be written", errno);
}

void WriteShownResult(std::string_view text) { WriteResult(ShownLines(text)); }

void WriteRemark(std::FILE* out, std::string_view text) {
  const std::string shown = ShownLines(text);
  std::fwrite(shown.data(), 1, shown.size(), out);
  std::fflush(out);
  std::clearerr(out);
}

}  // namespace bisparse
