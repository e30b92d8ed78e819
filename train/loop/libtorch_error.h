// SPDX-License-Identifier: Apache-2.0
// LibTorch's exceptions as ours: its first line, no stack trace. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_LIBTORCH_ERROR_H_
#define BISPARSE_TRAIN_LOOP_LIBTORCH_ERROR_H_

#include <c10/util/Exception.h>

#include <stdexcept>
#include <string>
#include <system_error>

#include "deploy/base/check.h"

namespace bisparse::train {

/// LibTorch's messages carry a stack trace; the first line says what happened.
inline std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }
inline std::string FirstLine(const c10::Error& error) {
  return FirstLine(std::string(error.what_without_backtrace()));
}

/// Where memory ran out: kInternal, as std::bad_alloc. Else kConfiguration: shapes were checked
/// before, so what LibTorch refuses follows from the settings.
[[noreturn]] inline void FailInLibTorch(const std::string& location, const std::string& line) {
  if (line.find("allocate memory") != std::string::npos ||
      line.find("out of memory") != std::string::npos) {
    Fail(ErrorKind::kInternal, location,
         "out of memory: LibTorch: {} (hint: a smaller train.batch_size)", line);
  }
  Fail(ErrorKind::kConfiguration, location,
       "LibTorch refuses these settings: {} (hint: look for a value under `train` that is far from "
       "its default)",
       line);
}

template <typename Body>
auto CallLibTorch(const std::string& location, const Body& body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::system_error&) {  // files, threads
    throw;
  } catch (const c10::Error& error) {
    FailInLibTorch(location, FirstLine(error));
  } catch (const std::runtime_error& error) {  // numbers beyond single precision
    FailInLibTorch(location, FirstLine(error.what()));
  }
}

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_LIBTORCH_ERROR_H_
