// SPDX-License-Identifier: Apache-2.0
// Reading of .npy files through xtensor and the data set made of them.
// xtensor trusts a header (it allocates what the header claims and takes what the file holds), so a
// header is checked against the file's size first. Read first: npy.h. Tested in: npy_test.cc.
#include "data/npy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <regex>
#include <utility>
#include <xtensor/xarray.hpp>
#include <xtensor/xnpy.hpp>

#include "data/augment.h"
#include "deploy/base/check.h"
#include "deploy/base/random.h"

namespace bisparse::data {
namespace {

struct Header {
  std::string type;  ///< e.g. "<f4"
  std::vector<int64_t> shape;
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t size : shape) text.append(text.empty() ? "" : "×").append(std::to_string(size));
  return text.empty() ? "a single number" : text;
}

/// The header of a .npy file of version 1 or 2 whose payload is exactly as long as it says.
Header ReadHeader(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::array<char, 12> start = {};
  if (!stream) Fail(ErrorKind::kData, path, "cannot be opened");
  if (!stream.read(start.data(), start.size()) || std::string(start.data(), 6) != "\x93NUMPY") {
    Fail(ErrorKind::kData, path, "not a .npy file (hint: written by numpy.save)");
  }
  const int version = start[6];
  if (version != 1 && version != 2) {
    Fail(ErrorKind::kData, path, ".npy format version {}, only 1 and 2 are read", version);
  }
  const int64_t preamble = version == 1 ? 10 : 12;
  int64_t length = 0;
  for (int64_t byte = preamble; byte-- > 8;)
    length = length << 8 | static_cast<uint8_t>(start[byte]);
  // xtensor 0.24 reads the length's bytes as signed ones; numpy writes 118 for all shapes that are
  // used here.
  if (length < 1 || length > 127) {
    Fail(ErrorKind::kData, path, ".npy header of {} bytes, 1 to 127 are read", length);
  }
  std::string text(length, '\0');
  stream.seekg(preamble);
  if (!stream.read(text.data(), length)) Fail(ErrorKind::kData, path, "ends within its header");
  static const std::regex form(
      R"(\{ *'descr' *: *'([<>|=][a-z][0-9]{1,2})' *, *'fortran_order' *: *(True|False) *, *)"
      R"('shape' *: *\(([0-9, ]*)\) *,? *\} *\n)");
  std::smatch match;
  if (!std::regex_match(text, match, form)) {
    Fail(ErrorKind::kData, path, "header '{}' is not of a plain array of numbers", text);
  }
  Header header{match[1], {}};
  const std::string sizes = match[3];
  static const std::regex number("[0-9]+");
  const int64_t word_bytes = std::stoll(header.type.substr(2));
  int64_t bytes = word_bytes;
  for (std::sregex_iterator size(sizes.begin(), sizes.end(), number), end; size != end; ++size) {
    const std::string digits = size->str();
    header.shape.push_back(digits.size() > 12 ? INT64_MAX : std::stoll(digits));
    if (__builtin_mul_overflow(bytes, header.shape.back(), &bytes)) {
      Fail(ErrorKind::kData, path, "claims to be of size ({})", sizes);
    }
  }
  if (match[2] == "True" && header.shape.size() > 1) {
    Fail(ErrorKind::kData, path,
         "is in Fortran order (hint: numpy.save(path, numpy.ascontiguousarray(x)))");
  }
  const auto file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  if (bytes != file_bytes - preamble - length) {
    Fail(ErrorKind::kData, path, "{} of type {} takes {} bytes, but {} follow the header",
         ShapeText(header.shape), header.type, bytes, file_bytes - preamble - length);
  }
  return header;
}

/// The elements of a file whose header has been checked, as numbers of type To.
template <typename From, typename To>
std::vector<To> ReadAs(const std::string& path) {
  try {
    const auto array = xt::load_npy<From>(path);
    return std::vector<To>(array.begin(), array.end());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    Fail(ErrorKind::kData, path, "xtensor cannot read it: {}", error.what());
  }
}

/// Samples channels last, as f32.
struct Samples {
  int64_t count = 0;
  Shape shape;
  std::vector<float> x_nhwc;
  std::vector<int32_t> y_n;
  std::string path;
};

void ReadX(const std::string& path, const NpyConfig& config, Samples& samples) {
  const Header header = ReadHeader(path);
  const std::vector<int64_t>& size = header.shape;
  if (size.size() < 2 || size.size() > 4) {
    Fail(ErrorKind::kData, path, "is {}, allowed are N×D, N×H×W and N×C×H×W", ShapeText(size));
  }
  for (int64_t extent : size) {
    if (extent >= 1 && extent <= (int64_t{1} << 30)) continue;
    Fail(ErrorKind::kData, path, "is {}: no size may be 0 or above 2^30", ShapeText(size));
  }
  std::vector<float> x;
  if (header.type == "<f4") {
    x = ReadAs<float, float>(path);
  } else if (header.type == "|u1") {
    x = ReadAs<uint8_t, float>(path);
  } else {
    Fail(ErrorKind::kData, path, "is of type {}, allowed are <f4 (float32) and |u1 (uint8)",
         header.type);
  }
  int64_t height = 1, width = 1, channels = 1;
  bool channels_first = false;
  if (size.size() == 2) {
    channels = size[1];
  } else if (size.size() == 3) {
    height = size[1], width = size[2];
  } else if (config.channels_last) {
    height = size[1], width = size[2], channels = size[3];
  } else {
    channels = size[1], height = size[2], width = size[3];
    channels_first = channels > 1;
  }
  samples.count = size[0];
  samples.shape = {static_cast<int32_t>(height), static_cast<int32_t>(width),
                   static_cast<int32_t>(channels)};
  const auto offset = static_cast<float>(config.offset), scale = static_cast<float>(config.scale);
  const int64_t elements = samples.shape.elements();
  for (int64_t i = 0; i < std::ssize(x); ++i) {
    x[i] = (x[i] - offset) * scale;
    if (!std::isfinite(x[i])) {
      Fail(ErrorKind::kData, path, "element {} of sample {} is not finite", i % elements,
           i / elements);
    }
  }
  if (channels_first) {
    std::vector<float> sample(elements);
    const int64_t area = height * width;
    for (int64_t n = 0; n < samples.count; ++n) {
      float* const to = x.data() + n * elements;
      std::copy_n(to, elements, sample.begin());
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t p = 0; p < area; ++p) to[p * channels + c] = sample[c * area + p];
      }
    }
  }
  samples.x_nhwc = std::move(x);
  samples.path = path;
}

void ReadY(const std::string& path, Samples& samples) {
  const Header header = ReadHeader(path);
  const bool column = header.shape.size() == 2 && header.shape[1] == 1;
  if (header.shape.size() != 1 && !column) {
    Fail(ErrorKind::kData, path, "is {}, allowed is one label a sample", ShapeText(header.shape));
  }
  if (header.shape[0] != samples.count) {
    Fail(ErrorKind::kData, path, "has {} labels for the {} samples of {}", header.shape[0],
         samples.count, samples.path);
  }
  std::vector<int64_t> labels;
  if (header.type == "<i8") {
    labels = ReadAs<int64_t, int64_t>(path);
  } else if (header.type == "<i4") {
    labels = ReadAs<int32_t, int64_t>(path);
  } else if (header.type == "|u1") {
    labels = ReadAs<uint8_t, int64_t>(path);
  } else {
    Fail(ErrorKind::kData, path,
         "is of type {}, allowed are <i8 (int64), <i4 (int32) and |u1 (uint8)", header.type);
  }
  constexpr int64_t kMostClasses = 1 << 20;
  for (int64_t label : labels) {
    if (label < 0 || label >= kMostClasses) {
      Fail(ErrorKind::kData, path, "label {} of sample {} is not in [0, {})", label,
           samples.y_n.size(), kMostClasses);
    }
    samples.y_n.push_back(static_cast<int32_t>(label));
  }
}

class Npy : public Dataset {
 public:
  Npy(const NpyConfig& config, const OpenOptions& options) {
    const bool hold_out = config.validation_x.empty() && !config.train_x.empty();
    if (options.train || (options.validation && hold_out)) {
      Read(config.train_x, config.train_y, config);
    }
    const int64_t train_count = count_;
    if (options.validation && !hold_out) Read(config.validation_x, config.validation_y, config);
    const int64_t validation_count = count_ - train_count;
    if (options.test) Read(config.test_x, config.test_y, config);
    if (count_ == 0) Fail(ErrorKind::kConfiguration, "data", "the wanted splits have no files");
    // Indices: the files one after the other, but what is held out goes from training to
    // validation.
    std::vector<int64_t> order(count_);
    std::iota(order.begin(), order.end(), 0);
    const auto begin = order.begin();
    if (hold_out && train_count > 0) {
      // Of (seed 1, position) alone: the same samples are held out whatever a run's seed.
      CounterRandom random(1, {0x686f6c64});
      for (int64_t i = train_count - 1; i > 0; --i) {
        std::swap(order[i], order[IndexBelow(random, i + 1)]);
      }
      const auto held = std::llround(config.validation_fraction * static_cast<double>(train_count));
      std::sort(begin, begin + held);
      std::sort(begin + held, begin + train_count);
      if (options.train) index_[0].assign(begin + held, begin + train_count);
      if (options.validation) index_[1].assign(begin, begin + held);
    } else {
      index_[0].assign(begin, begin + train_count);
      index_[1].assign(begin + train_count, begin + train_count + validation_count);
    }
    index_[2].assign(begin + train_count + validation_count, order.end());
    NameClasses(config);
  }

  Shape shape() const override { return shape_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t size(Split split) const override { return std::ssize(Index(split)); }
  int32_t Label(Split split, int64_t index) const override {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    return y_n_[Index(split)[index]];
  }

  void Features(Split split, int64_t index, uint64_t,
                std::span<float> features_hwc) const override {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    BISPARSE_CHECK(std::ssize(features_hwc) == shape_.elements());
    std::copy_n(x_nhwc_.begin() + Index(split)[index] * shape_.elements(), shape_.elements(),
                features_hwc.begin());
  }

  std::string Describe(Split split, int64_t index, uint64_t) const override {
    const int64_t sample = Index(split)[index];
    const File& file = *std::find_if(files_.rbegin(), files_.rend(),
                                     [&](const File& f) { return f.first <= sample; });
    return fmt::format("{}[{}]", file.path, sample - file.first);
  }

 private:
  struct File {
    std::string path;
    int64_t first;
  };
  const std::vector<int64_t>& Index(Split split) const {
    return index_[static_cast<size_t>(split)];
  }

  void Read(const std::string& x_path, const std::string& y_path, const NpyConfig& config) {
    if (x_path.empty()) return;
    Samples samples;
    ReadX(x_path, config, samples);
    ReadY(y_path, samples);
    if (count_ > 0 && samples.shape != shape_) {
      Fail(ErrorKind::kData, x_path, "samples of {}×{}×{}, but those of {} are {}×{}×{}",
           samples.shape.height, samples.shape.width, samples.shape.channels, files_[0].path,
           shape_.height, shape_.width, shape_.channels);
    }
    files_.push_back({x_path, count_});
    label_paths_.push_back(y_path);
    shape_ = samples.shape;
    count_ += samples.count;
    if (x_nhwc_.empty()) {
      x_nhwc_ = std::move(samples.x_nhwc);
    } else {
      x_nhwc_.insert(x_nhwc_.end(), samples.x_nhwc.begin(), samples.x_nhwc.end());
    }
    y_n_.insert(y_n_.end(), samples.y_n.begin(), samples.y_n.end());
  }

  /// Without names: the labels up to the largest of the first file, which is the training one where
  /// it is open.
  void NameClasses(const NpyConfig& config) {
    class_names_ = config.class_names;
    if (class_names_.empty()) {
      const int64_t end = files_.size() > 1 ? files_[1].first : count_;
      const int32_t largest = *std::max_element(y_n_.begin(), y_n_.begin() + end);
      for (int32_t label = 0; label <= largest; ++label) {
        class_names_.push_back(std::to_string(label));
      }
    }
    for (int64_t sample = 0; sample < count_; ++sample) {
      if (y_n_[sample] < std::ssize(class_names_)) continue;
      size_t file = files_.size() - 1;
      while (files_[file].first > sample) --file;
      Fail(ErrorKind::kData, label_paths_[file], "label {} of sample {} exceeds the {} classes",
           y_n_[sample], sample - files_[file].first, class_names_.size());
    }
  }

  Shape shape_;
  int64_t count_ = 0;
  std::vector<float> x_nhwc_;
  std::vector<int32_t> y_n_;
  std::vector<File> files_;
  std::vector<std::string> label_paths_;
  std::array<std::vector<int64_t>, 4> index_;  // by split; nothing is perturbed
  std::vector<std::string> class_names_;
};

}  // namespace

std::unique_ptr<Dataset> OpenNpy(const DatasetConfig& config, const OpenOptions& options) {
  return std::make_unique<Npy>(config.npy, options);
}

}  // namespace bisparse::data
