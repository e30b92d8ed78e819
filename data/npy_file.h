// SPDX-License-Identifier: Apache-2.0
// One array in a .npy file (NumPy Enhancement Proposal 1, versions 1 to 3): bool, integers and
// floats of any size and byte order, C or Fortran order. A header is checked against the file's size
// before anything is allocated. Tested in: npy_file_test.cc.
#ifndef BISPARSE_DATA_NPY_FILE_H_
#define BISPARSE_DATA_NPY_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "deploy/base/file.h"

namespace bisparse::data {

class NpyFile {
 public:
  /// Reads the header. Throws Error (kData): no such file, not .npy, not an array of numbers, a
  /// payload of another size than the header says.
  explicit NpyFile(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t elements() const { return elements_; }
  std::string ShapeText() const;  ///< "300×12×12×3"

  char kind() const { return kind_; }       ///< 'b', 'i', 'u' or 'f', as NumPy says
  int64_t bytes() const { return bytes_; }  ///< of an element
  std::string TypeName() const;             ///< "float64", as NumPy says
  /// bool and uint8: values that a byte holds.
  bool IsByte() const { return bytes_ == 1 && kind_ != 'i'; }

  /// All elements in C order. Doubles hold every type's values but integers beyond 2^53.
  std::vector<double> ReadDoubles() const;
  std::vector<float> ReadFloats() const;   ///< narrowed
  std::vector<uint8_t> ReadBytes() const;  ///< IsByte() only

 private:
  void ParseHeader(const std::string& text);
  void RequireSize(int64_t file_bytes) const;
  template <typename To, typename Convert>
  std::vector<To> Read(const Convert& convert) const;
  template <typename To>
  std::vector<To> ReadNumbers() const;

  std::string path_;
  FileDescriptor file_;
  int64_t payload_ = 0;  ///< where it begins in the file
  char kind_ = 'f';
  int64_t bytes_ = 4;
  bool swapped_ = false;  ///< the other byte order
  bool fortran_ = false;
  std::vector<int64_t> shape_;
  int64_t elements_ = 1;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_NPY_FILE_H_
