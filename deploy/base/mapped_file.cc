// SPDX-License-Identifier: Apache-2.0
// Read first: mapped_file.h.
#include "deploy/base/mapped_file.h"

#include <cerrno>

#include <sys/mman.h>

#include "deploy/base/file.h"
#include "deploy/base/regular_file.h"

namespace bisparse {

MappedFile::MappedFile(const std::string& path) {
  const RegularFile file(path);
  size_ = file.size();
  void* const memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (memory == MAP_FAILED) FailErrno(path, "cannot be mapped into memory", errno);
  bytes_ = static_cast<const uint8_t*>(memory);
}

MappedFile::~MappedFile() { ::munmap(const_cast<uint8_t*>(bytes_), size_); }

}  // namespace bisparse
