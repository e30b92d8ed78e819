// SPDX-License-Identifier: Apache-2.0
// The one exception type of bisparse. Its message says where, what was read, what was allowed, and
// a hint:
//   configs/gsc.yaml:12:9: kwta.winners = 300 exceeds the 64 channels of conv1 (hint: …)
#ifndef BISPARSE_ERROR_H_
#define BISPARSE_ERROR_H_

#include "bisparse/version.h"  // first: says what is needed where the compiler would not

#include <stdexcept>
#include <string>

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

/// What kind of thing was wrong; programs map it to their exit code.
enum class ErrorKind {
  kConfiguration,  ///< a YAML file, a flag or an API argument: exit 2
  kData,           ///< a recording, a model file, a run folder, the file system: exit 3
  kInternal,       ///< a defect of bisparse itself: exit 1
};

/// Default visibility: what the library throws is caught outside of it.
class BISPARSE_API Error : public std::runtime_error {
 public:
  /// `location` is a file (with line:column where known), a layer, or empty; what() is "location:
  /// message".
  Error(ErrorKind kind, const std::string& location, const std::string& message)
      : std::runtime_error(location.empty() ? message : location + ": " + message),
        kind_(kind),
        location_(location) {}

  ErrorKind kind() const noexcept { return kind_; }
  const std::string& location() const noexcept { return location_; }

 private:
  ErrorKind kind_;
  std::string location_;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_ERROR_H_
