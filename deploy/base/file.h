// SPDX-License-Identifier: Apache-2.0
// Whole files: read as text, write atomically. All errors are Error (kData) with path, errno's text
// and a hint. Tested in: file_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_FILE_H_
#define BISPARSE_DEPLOY_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bisparse {

/// Whole or not at all: writes a temporary file beside `path`, syncs it, renames it over `path`,
/// syncs the folder. On an error (full disk, no folder …) the temporary file is gone and what was
/// at `path` before is unchanged.
void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes);
void WriteFileAtomically(const std::string& path, std::string_view text);

/// Configurations and lists, not recordings: refuses more than this, so that a wrong path cannot
/// eat the memory.
inline constexpr int64_t kMaxTextFileBytes = int64_t{256} << 20;

/// The bytes of a file or pipe, unchanged.
std::string ReadTextFile(const std::string& path);

/// Closes on destruction; for this folder's own use.
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

FileDescriptor OpenForReading(const std::string& path);

/// Throws "<path>: <what>: <text of error_number> (hint: …)".
[[noreturn]] void FailErrno(const std::string& path, std::string_view what, int error_number);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_FILE_H_
