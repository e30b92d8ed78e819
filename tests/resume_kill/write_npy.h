// SPDX-License-Identifier: Apache-2.0
// Arrays for tests that run the trainer as a program.
#ifndef BISPARSE_TESTS_RESUME_KILL_WRITE_NPY_H_
#define BISPARSE_TESTS_RESUME_KILL_WRITE_NPY_H_

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "deploy/base/file.h"

namespace bisparse::train {

/// NumPy's format, version 1.0: magic, header length, a dictionary padded to 64 bytes, the numbers.
template <typename T>
void WriteNpy(const std::string& path, const std::string& descr, const std::string& shape,
              const std::vector<T>& values) {
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr, shape);
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  const uint16_t length = static_cast<uint16_t>(header.size());
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8);
  bytes.append(reinterpret_cast<const char*>(&length), 2);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  WriteFileAtomically(path, bytes);
}

}  // namespace bisparse::train

#endif  // BISPARSE_TESTS_RESUME_KILL_WRITE_NPY_H_
