// SPDX-License-Identifier: Apache-2.0
// Read first: npy_file.h. Tested in: npy_file_test.cc.
#include "data/npy_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <regex>
#include <string_view>

#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

constexpr int64_t kMaxHeaderBytes = 1 << 16;

/// Up to `bytes` bytes from `offset`; fewer at the file's end.
std::string ReadAt(const FileDescriptor& file, const std::string& path, int64_t offset,
                   int64_t bytes) {
  std::string text(static_cast<size_t>(bytes), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::pread(file.get(), text.data() + done, text.size() - done,
                                  offset + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) FailErrno(path, "cannot be read", errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

/// What the first bytes of a file are that is no .npy.
const char* HintFor(std::string_view start) {
  if (start.starts_with("PK")) return "an archive, as .npz and .pt: numpy.save one array of it";
  if (start.starts_with("\x1f\x8b")) return "compressed: gunzip it";
  return "written by numpy.save";
}

template <typename T>
T Load(const char* from, bool swapped) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), from, sizeof(T));
  if (swapped) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

/// IEEE 754's half precision.
double FromHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(mantissa + 1024, exponent - 25);
}

/// Elements in Fortran order, the first index running fastest, to C order.
template <typename T>
std::vector<T> ToCOrder(const std::vector<T>& values, const std::vector<int64_t>& shape) {
  std::vector<T> ordered(values.size());
  std::vector<int64_t> index(shape.size(), 0);
  for (T& to : ordered) {
    int64_t at = 0;
    for (size_t d = shape.size(); d-- > 0;) at = at * shape[d] + index[d];
    to = values[static_cast<size_t>(at)];
    for (size_t d = shape.size(); d-- > 0;) {  // the last index runs fastest
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return ordered;
}

}  // namespace

NpyFile::NpyFile(const std::string& path) : path_(path), file_(OpenRegularFile(path)) {
  // The size of what was opened, whatever lies at the path meanwhile.
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) FailErrno(path, "cannot be looked at", errno);
  const std::string start = ReadAt(file_, path, 0, 12);
  if (!start.starts_with("\x93NUMPY") || start.size() < 12) {
    Fail(ErrorKind::kData, path, "not a .npy file (hint: {})", HintFor(start));
  }
  const int version = start[6];
  if (version < 1 || version > 3) {
    Fail(ErrorKind::kData, path, ".npy format version {}, only 1 to 3 are read", version);
  }
  const int64_t preamble = version == 1 ? 10 : 12;
  int64_t length = 0;
  for (int64_t byte = preamble; byte-- > 8;)
    length = length << 8 | static_cast<uint8_t>(start[static_cast<size_t>(byte)]);
  if (length < 1 || length > kMaxHeaderBytes) {
    Fail(ErrorKind::kData, path, ".npy header of {} bytes, 1 to {} are read", length,
         kMaxHeaderBytes);
  }
  const std::string text = ReadAt(file_, path, preamble, length);
  if (static_cast<int64_t>(text.size()) < length) {
    Fail(ErrorKind::kData, path, "ends within its header");
  }
  payload_ = preamble + length;
  ParseHeader(text);
  RequireSize(status.st_size);
}

void NpyFile::ParseHeader(const std::string& text) {
  // Python's literals: either quote, keys in any order, 120L from Python 2.
  static const std::regex type_form(R"(['"]descr['"] *: *['"]([<>|=])([a-zA-Z])([0-9]{0,5}))");
  static const std::regex order_form(R"(['"]fortran_order['"] *: *(True|False))");
  static const std::regex shape_form(R"(['"]shape['"] *: *\(([0-9L, ]*)\))");
  std::smatch type, order, shape;
  if (!std::regex_search(text, type, type_form) || !std::regex_search(text, order, order_form) ||
      !std::regex_search(text, shape, shape_form)) {
    Fail(ErrorKind::kData, path_, "header '{}' is not of a plain array of numbers",
         text.substr(0, text.find_last_not_of(" \n") + 1));
  }
  const std::string letter = type[2], digits = type[3];
  kind_ = letter[0];
  bytes_ = digits.empty() ? 0 : std::stoll(digits);
  const bool known = kind_ == 'b' ? bytes_ == 1
                     : kind_ == 'f'
                         ? bytes_ == 2 || bytes_ == 4 || bytes_ == 8
                         : (kind_ == 'i' || kind_ == 'u') &&
                               (bytes_ == 1 || bytes_ == 2 || bytes_ == 4 || bytes_ == 8);
  if (!known) {
    const bool words = kind_ == 'U' || kind_ == 'S' || kind_ == 'O';
    Fail(ErrorKind::kData, path_,
         "holds elements of type {}{}{}, allowed are bool, integers and float16 to float64 (hint: "
         "{})",
         type[1].str(), letter, digits,
         words ? "numpy.unique(y, return_inverse=True) makes numbers of words"
               : "x.astype('float32')");
  }
  swapped_ = bytes_ > 1 && (type[1] == ">") != (std::endian::native == std::endian::big);
  if (type[1] == "=" || type[1] == "|") swapped_ = false;
  fortran_ = order[1] == "True";
  const std::string sizes = shape[1];
  static const std::regex number("[0-9]+");
  int64_t total = bytes_;
  for (std::sregex_iterator size(sizes.begin(), sizes.end(), number), end; size != end; ++size) {
    const std::string text_of_size = size->str();
    shape_.push_back(text_of_size.size() > 12 ? INT64_MAX : std::stoll(text_of_size));
    if (__builtin_mul_overflow(total, shape_.back(), &total)) {
      Fail(ErrorKind::kData, path_, "claims to be of size ({})", sizes);
    }
  }
  elements_ = total / bytes_;
  fortran_ = fortran_ && shape_.size() > 1;
}

void NpyFile::RequireSize(int64_t file_bytes) const {
  if (elements_ * bytes_ == file_bytes - payload_) return;
  Fail(ErrorKind::kData, path_, "{} of type {} takes {} bytes, but {} follow the header",
       ShapeText(), TypeName(), elements_ * bytes_, file_bytes - payload_);
}

std::string NpyFile::ShapeText() const {
  std::string text;
  for (const int64_t size : shape_) {
    text.append(text.empty() ? "" : "×").append(std::to_string(size));
  }
  return text.empty() ? "a single number" : text;
}

std::string NpyFile::TypeName() const {
  if (kind_ == 'b') return "bool";
  return fmt::format("{}{}", kind_ == 'f' ? "float" : kind_ == 'i' ? "int" : "uint", 8 * bytes_);
}

/// `convert`: where an element lies → its value.
template <typename To, typename Convert>
std::vector<To> NpyFile::Read(const Convert& convert) const {
  constexpr int64_t kBlock = 1 << 18;  // elements: the file is never whole in memory beside them
  std::vector<To> values;
  values.reserve(static_cast<size_t>(elements_));
  for (int64_t begin = 0; begin < elements_; begin += kBlock) {
    const int64_t count = std::min(kBlock, elements_ - begin);
    const std::string block = ReadAt(file_, path_, payload_ + begin * bytes_, count * bytes_);
    if (static_cast<int64_t>(block.size()) < count * bytes_) {
      Fail(ErrorKind::kData, path_, "became shorter while it was read");
    }
    for (int64_t i = 0; i < count; ++i) values.push_back(convert(block.data() + i * bytes_));
  }
  return fortran_ ? ToCOrder(values, shape_) : values;
}

template <typename To>
std::vector<To> NpyFile::ReadNumbers() const {
  const auto as = [this]<typename From>(From) {
    return Read<To>([this](const char* at) { return static_cast<To>(Load<From>(at, swapped_)); });
  };
  const bool is_signed = kind_ == 'i';
  if (kind_ == 'f') {
    if (bytes_ == 2) {
      return Read<To>([this](const char* at) {
        return static_cast<To>(FromHalf(Load<uint16_t>(at, swapped_)));
      });
    }
    return bytes_ == 4 ? as(float{}) : as(double{});
  }
  switch (bytes_) {
    case 1:
      return is_signed ? as(int8_t{}) : as(uint8_t{});
    case 2:
      return is_signed ? as(int16_t{}) : as(uint16_t{});
    case 4:
      return is_signed ? as(int32_t{}) : as(uint32_t{});
    default:
      return is_signed ? as(int64_t{}) : as(uint64_t{});
  }
}

std::vector<double> NpyFile::ReadDoubles() const { return ReadNumbers<double>(); }
std::vector<float> NpyFile::ReadFloats() const { return ReadNumbers<float>(); }

std::vector<uint8_t> NpyFile::ReadBytes() const {
  BISPARSE_CHECK(IsByte());
  return Read<uint8_t>([](const char* at) { return static_cast<uint8_t>(*at); });
}

}  // namespace bisparse::data
