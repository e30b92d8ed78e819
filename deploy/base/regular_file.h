// SPDX-License-Identifier: Apache-2.0
// A regular file, open for reading; see OpenRegularFile.
// Tested in: mapped_file_test.cc, deploy/packed/model_file_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_REGULAR_FILE_H_
#define BISPARSE_DEPLOY_BASE_REGULAR_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "deploy/base/file.h"

namespace bisparse {

class RegularFile {
 public:
  /// Throws Error (kData) naming the path: not there, not a regular file, empty, not readable.
  explicit RegularFile(const std::string& path);

  size_t size() const { return size_; }
  int descriptor() const { return file_.get(); }
  /// The first bytes of the file. Throws Error (kData) where there are not so many any more.
  void Read(std::span<uint8_t> bytes) const;

 private:
  std::string path_;
  FileDescriptor file_;
  size_t size_ = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_REGULAR_FILE_H_
