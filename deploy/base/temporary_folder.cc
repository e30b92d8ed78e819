// SPDX-License-Identifier: Apache-2.0
// Read first: temporary_folder.h.
#include "deploy/base/temporary_folder.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse {

TemporaryFolder::TemporaryFolder() {
  const char* const named = std::getenv("TMPDIR");
  const std::string parent = named == nullptr || *named == '\0' ? "/tmp" : named;
  std::string pattern = parent + "/bisparse-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    Fail(ErrorKind::kData, parent, "a temporary folder cannot be made there: {} (hint: set TMPDIR)",
         std::generic_category().message(errno));
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace bisparse
