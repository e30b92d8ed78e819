// SPDX-License-Identifier: Apache-2.0
// Read first: regular_file.h.
#include "deploy/base/regular_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "deploy/base/check.h"

namespace bisparse {

RegularFile::RegularFile(const std::string& path) : path_(path), file_(OpenRegularFile(path)) {
  struct stat status;
  if (::fstat(file_.get(), &status) != 0) FailErrno(path, "cannot be examined", errno);
  if (status.st_size == 0) {
    Fail(ErrorKind::kData, path, "is empty, 0 bytes (hint: was the copy or download interrupted?)");
  }
  size_ = static_cast<size_t>(status.st_size);
}

void RegularFile::Read(std::span<uint8_t> bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t read =
        ::pread(file_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) FailErrno(path_, "cannot be read", errno);
    if (read == 0) {
      Fail(ErrorKind::kData, path_,
           "has {} bytes, had {} when it was opened (hint: somebody writes it; replace files by "
           "rename)",
           done, size_);
    }
    done += static_cast<size_t>(read);
  }
}

}  // namespace bisparse
