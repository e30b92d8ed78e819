// SPDX-License-Identifier: Apache-2.0
// Read first: mapped_file.h.
#include "deploy/base/mapped_file.h"

#include <cerrno>

#include <sys/mman.h>
#include <sys/stat.h>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse {

MappedFile::MappedFile(const std::string& path) {
  const FileDescriptor file = OpenRegularFile(path);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) FailErrno(path, "cannot be examined", errno);
  if (status.st_size == 0) {
    Fail(ErrorKind::kData, path, "is empty, 0 bytes (hint: was the copy or download interrupted?)");
  }
  size_ = static_cast<size_t>(status.st_size);
  void* const memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) FailErrno(path, "cannot be mapped into memory", errno);
  bytes_ = static_cast<const uint8_t*>(memory);
}

MappedFile::~MappedFile() { ::munmap(const_cast<uint8_t*>(bytes_), size_); }

}  // namespace bisparse
