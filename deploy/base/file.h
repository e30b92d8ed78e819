// SPDX-License-Identifier: Apache-2.0
// Whole files: read as text, write atomically; never a device or link in place of a file. All errors are Error (kData)
// with path, errno's text and a hint. Tested in: file_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_FILE_H_
#define BISPARSE_DEPLOY_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bisparse/error.h"

namespace bisparse {

/// Whole or not at all: writes a temporary file beside `path`, syncs it, renames it over `path`,
/// syncs the folder. On an error (full disk, no folder …) the temporary file is gone and what was
/// at `path` before is unchanged. By what stands at `path`:
///   nothing         a new file with the mode of the umask
///   a regular file  is replaced; mode, owner and group stay where this user may set them. Other hard
///                   links to it keep the old content; access lists and attributes are not copied.
///   a link          is followed, also one that points to nothing yet
///   a device, FIFO, an open descriptor (/dev/stdout, /dev/fd/N, /proc/self/fd/N)
///                   is written into, neither whole nor synced; a descriptor at its own position
///   a folder, a file that this user may not write: refused
void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes);
void WriteFileAtomically(const std::string& path, std::string_view text);

/// Throws what WriteFileAtomically would throw as far as it can be known before there is anything to
/// write: for long work whose result would otherwise be lost. Makes and opens nothing.
void RequireWritable(const std::string& path);

/// Configurations and lists, not recordings: refuses more than this, so that a wrong path cannot
/// eat the memory.
inline constexpr int64_t kMaxTextFileBytes = int64_t{256} << 20;

/// The bytes of a regular file, unchanged. Anything else is refused without waiting for it.
std::string ReadTextFile(const std::string& path);
/// The same of a pipe or device too: /dev/stdin, a shell's <(…), a FIFO that somebody will write to.
std::string ReadTextStream(const std::string& path);

/// Closes on destruction.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor();
  int get() const { return descriptor_; }
  void Reset(int descriptor) {
    FileDescriptor old(descriptor_);
    descriptor_ = descriptor;
  }
  int Release() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return descriptor;
  }

 private:
  int descriptor_;
};

/// Of a regular file. Folders, pipes, sockets and devices are refused, and nothing waits for the
/// other end of a pipe: what is asked is asked of the descriptor, so that nobody can change it after.
FileDescriptor OpenRegularFile(const std::string& path);

/// "<path>: <what>: <text of error_number> (hint: …)", kData.
Error ErrnoError(const std::string& path, std::string_view what, int error_number);
/// Throws it.
[[noreturn]] void FailErrno(const std::string& path, std::string_view what, int error_number);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_FILE_H_
