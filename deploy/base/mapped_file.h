// SPDX-License-Identifier: Apache-2.0
// A regular file's bytes, mapped read-only for as long as the object lives. The mapping shows what
// others write into the file, and shrinking it in place is fatal (SIGBUS): replace a file by
// rename, as WriteFileAtomically does. Tested in: mapped_file_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_MAPPED_FILE_H_
#define BISPARSE_DEPLOY_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace bisparse {

class MappedFile {
 public:
  /// Throws Error (kData) naming the path: not there, not a regular file, empty, not readable.
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// Begins at a page boundary, so 64-byte alignment inside the file is alignment in memory.
  std::span<const uint8_t> bytes() const { return {bytes_, size_}; }

 private:
  const uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_MAPPED_FILE_H_
