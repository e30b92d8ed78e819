// SPDX-License-Identifier: Apache-2.0
// A new folder below TMPDIR (else /tmp) for files that only this process and its children need; gone with the object.
// Tested in: temporary_folder_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_TEMPORARY_FOLDER_H_
#define BISPARSE_DEPLOY_BASE_TEMPORARY_FOLDER_H_

#include <string>

namespace bisparse {

class TemporaryFolder {
 public:
  /// Throws Error (kData) where no folder can be made.
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::string& path() const { return path_; }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_TEMPORARY_FOLDER_H_
