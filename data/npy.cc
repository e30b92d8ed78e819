// SPDX-License-Identifier: Apache-2.0
// The data set made of .npy files. Read first: npy.h. Tested in: npy_test.cc.
// Past 400 lines: the checks of two arrays that must fit each other.
#include "data/npy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <variant>

#include "data/augment.h"
#include "data/augment_pixels.h"
#include "data/npy_file.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/random.h"

namespace bisparse::data {
namespace {

/// One pair of files: samples channels last, and their labels. Bytes are kept as they are, a quarter
/// of what floats take; the others are what the network reads, (x − offset)·scale.
struct Array {
  std::string path, label_path;
  int64_t first = 0, count = 0;  ///< in the order of all arrays
  Shape shape;
  std::variant<std::vector<float>, std::vector<uint8_t>> x_nhwc;
};

struct Scaling {
  float offset, scale;
  float operator()(float x) const { return (x - offset) * scale; }
};

Scaling ScalingOf(const NpyConfig& config) {
  return {static_cast<float>(config.offset), static_cast<float>(config.scale)};
}

/// How the extents of a file are read.
struct Reading {
  int64_t height = 1, width = 1, channels = 1;
  bool channels_first = false;
};

Reading ReadExtents(const NpyFile& file, const NpyConfig& config) {
  const std::vector<int64_t>& size = file.shape();
  if (size.size() < 2 || size.size() > 4) {
    Fail(ErrorKind::kData, file.path(), "is {}, allowed are N×D, N×H×W and N×C×H×W{}",
         file.ShapeText(), size.size() == 1 ? " (hint: x.reshape(N, D))" : "");
  }
  for (const int64_t extent : size) {
    if (extent >= 1 && extent <= (int64_t{1} << 30)) continue;
    Fail(ErrorKind::kData, file.path(), "is {}: no size may be 0 or above 2^30", file.ShapeText());
  }
  if (size.size() == 2) return {.channels = size[1]};
  if (size.size() == 3) return {.height = size[1], .width = size[2]};
  if (config.channels_last) return {.height = size[1], .width = size[2], .channels = size[3]};
  return {.height = size[2], .width = size[3], .channels = size[1], .channels_first = size[1] > 1};
}

/// What is likely to be meant otherwise than it is read; empty: nothing.
std::string OddExtents(const NpyFile& file, const Reading& reading) {
  const std::string as_maps = fmt::format(
      "{}: {} is read as maps of {}×{} with {} channel{}", file.path(), file.ShapeText(),
      reading.height, reading.width, reading.channels, reading.channels == 1 ? "" : "s");
  if (file.shape().size() == 3 && reading.height <= 16 && 4 * reading.height <= reading.width) {
    return fmt::format("{} (hint: a series of {} channels is saved as N×C×1×L: x[:, :, None, :])",
                       as_maps, reading.height);
  }
  if (reading.channels_first && reading.width <= 4 && reading.channels > 4 && reading.height > 4) {
    return as_maps + " (hint: data.channels_last: true reads N×H×W×C)";
  }
  return "";
}

template <typename T>
void ToChannelsLast(std::vector<T>& x, const Reading& reading, int64_t count) {
  const int64_t area = reading.height * reading.width, elements = area * reading.channels;
  std::vector<T> sample(static_cast<size_t>(elements));
  for (int64_t n = 0; n < count; ++n) {
    T* const to = x.data() + n * elements;
    std::copy_n(to, elements, sample.begin());
    for (int64_t c = 0; c < reading.channels; ++c) {
      for (int64_t p = 0; p < area; ++p) to[p * reading.channels + c] = sample[c * area + p];
    }
  }
}

/// Everything but bytes. Types that f32 holds exactly are scaled in f32, the others before they are
/// narrowed.
std::vector<float> ReadScaled(const NpyFile& file, const NpyConfig& config, int64_t elements) {
  std::vector<float> x;
  if (file.bytes() <= 2 || (file.kind() == 'f' && file.bytes() == 4)) {
    x = file.ReadFloats();
    const Scaling scaling = ScalingOf(config);
    for (float& value : x) value = scaling(value);
  } else {
    const std::vector<double> wide = file.ReadDoubles();
    x.resize(wide.size());
    std::transform(wide.begin(), wide.end(), x.begin(), [&](double value) {
      return static_cast<float>((value - config.offset) * config.scale);
    });
  }
  for (int64_t i = 0; i < std::ssize(x); ++i) {
    if (std::isfinite(x[i])) continue;
    Fail(ErrorKind::kData, file.path(),
         "element {} of sample {} is {}, not a finite number of float32{}", i % elements,
         i / elements, x[i], std::isinf(x[i]) && file.bytes() > 4 ? " (hint: data.scale)" : "");
  }
  return x;
}

Array ReadX(const std::string& path, const NpyConfig& config, std::vector<std::string>& warnings) {
  const NpyFile file(path);
  const Reading reading = ReadExtents(file, config);
  Array array{.path = path,
              .count = file.shape()[0],
              .shape = {static_cast<int32_t>(reading.height), static_cast<int32_t>(reading.width),
                        static_cast<int32_t>(reading.channels)}};
  if (file.IsByte()) {
    array.x_nhwc = file.ReadBytes();
    for (const float extreme : {0.0f, 255.0f}) {
      if (std::isfinite(ScalingOf(config)(extreme))) continue;
      Fail(ErrorKind::kConfiguration, "data",
           "({} − offset) · scale is not a finite number of float32", extreme);
    }
  } else {
    array.x_nhwc = ReadScaled(file, config, array.shape.elements());
    if (file.TypeName() != "float32") {
      warnings.push_back(fmt::format("{}: {} is taken as float32", path, file.TypeName()));
    }
  }
  if (const std::string odd = OddExtents(file, reading); !odd.empty()) warnings.push_back(odd);
  if (reading.channels_first) {
    std::visit([&](auto& x) { ToChannelsLast(x, reading, array.count); }, array.x_nhwc);
  }
  return array;
}

std::vector<int32_t> ReadY(const std::string& path, const Array& x) {
  const NpyFile file(path);
  const std::vector<int64_t>& size = file.shape();
  if (size.size() != 1 && !(size.size() == 2 && size[1] == 1)) {
    const char* const hint = size.size() == 2 && size[0] == 1         ? " (hint: y.ravel())"
                             : size.size() == 2 && size[0] == x.count ? " (hint: y.argmax(axis=1))"
                                                                      : "";
    Fail(ErrorKind::kData, path, "is {}, allowed is one label a sample{}", file.ShapeText(), hint);
  }
  if (size[0] != x.count) {
    Fail(ErrorKind::kData, path, "has {} labels for the {} samples of {}", size[0], x.count,
         x.path);
  }
  constexpr double kMostClasses = 1 << 20;
  std::vector<int32_t> labels;
  for (const double label : file.ReadDoubles()) {
    if (!(label >= 0 && label < kMostClasses)) {
      Fail(ErrorKind::kData, path,
           "label {} of sample {} is not in [0, {}) (hint: numpy.unique(y, return_inverse=True)[1] "
           "numbers them from 0)",
           label, labels.size(), kMostClasses);
    }
    if (label != std::floor(label)) {
      Fail(ErrorKind::kData, path, "label {} of sample {} is no whole number", label,
           labels.size());
    }
    labels.push_back(static_cast<int32_t>(label));
  }
  return labels;
}

class Npy : public Dataset {
 public:
  Npy(const NpyConfig& config, const PixelAugmentConfig& augment, const OpenOptions& options)
      : scaling_(ScalingOf(config)), augment_(augment), seed_(options.seed) {
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
    if (options.train && augment_.Changes()) RequirePictures();
    Warn(options);
  }

  Shape shape() const override { return shape_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t size(Split split) const override { return std::ssize(Index(split)); }
  int32_t Label(Split split, int64_t index) const override {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    return y_n_[Index(split)[index]];
  }

  void Features(Split split, int64_t index, uint64_t epoch,
                std::span<float> features_hwc) const override {
    if (split != Split::kTrain || !augment_.Changes()) {
      return PlainFeatures(split, index, features_hwc);
    }
    BISPARSE_CHECK(index >= 0 && index < size(split));
    VisitSample(Index(split)[index], [&]<typename T>(std::span<const T> x_hwc) {
      std::vector<uint8_t> bytes(x_hwc.begin(), x_hwc.end());  // RequirePictures: T is a byte
      CounterRandom random = PixelRandom(seed_, epoch, index);
      AugmentPixels(augment_, shape_, random, bytes);
      std::transform(bytes.begin(), bytes.end(), features_hwc.begin(), scaling_);
    });
  }

  void PlainFeatures(Split split, int64_t index, std::span<float> features_hwc) const override {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    BISPARSE_CHECK(std::ssize(features_hwc) == shape_.elements());
    VisitSample(Index(split)[index], [&]<typename T>(std::span<const T> x_hwc) {
      if constexpr (std::is_same_v<T, float>) {
        std::copy(x_hwc.begin(), x_hwc.end(), features_hwc.begin());
      } else {
        std::transform(x_hwc.begin(), x_hwc.end(), features_hwc.begin(), scaling_);
      }
    });
  }

  std::string Describe(Split split, int64_t index, uint64_t) const override {
    const int64_t sample = Index(split)[index];
    const Array& array = ArrayOf(sample);
    return fmt::format("{}[{}]", array.path, sample - array.first);
  }

  uint64_t Fingerprint(Split split) const override {
    uint64_t sum = 0;
    for (const int64_t sample : Index(split)) {
      VisitSample(sample, [&]<typename T>(std::span<const T> x_hwc) {
        sum = MixBits(
            sum ^ XxHash64({reinterpret_cast<const uint8_t*>(x_hwc.data()), x_hwc.size_bytes()}));
      });
      sum = MixBits(sum ^ static_cast<uint64_t>(y_n_[sample]));
    }
    return sum;
  }

 private:
  const std::vector<int64_t>& Index(Split split) const {
    return index_[static_cast<size_t>(split)];
  }

  void Read(const std::string& x_path, const std::string& y_path, const NpyConfig& config) {
    if (x_path.empty()) return;
    Array array = ReadX(x_path, config, warnings_);
    array.label_path = y_path;
    array.first = count_;
    const std::vector<int32_t> labels = ReadY(y_path, array);
    if (count_ > 0 && array.shape != shape_) {
      Fail(ErrorKind::kData, x_path, "samples of {}×{}×{}, but those of {} are {}×{}×{}",
           array.shape.height, array.shape.width, array.shape.channels, arrays_[0].path,
           shape_.height, shape_.width, shape_.channels);
    }
    shape_ = array.shape;
    count_ += array.count;
    y_n_.insert(y_n_.end(), labels.begin(), labels.end());
    arrays_.push_back(std::move(array));
  }

  /// What can be flipped, moved and coloured.
  void RequirePictures() const {
    const Array& array = arrays_[0];
    if (!std::holds_alternative<std::vector<uint8_t>>(array.x_nhwc)) {
      Fail(ErrorKind::kConfiguration, array.path,
           "data.augment changes bytes, and these are other numbers (hint: save as uint8; "
           "data.offset and data.scale bring them to another range)");
    }
    if (shape_.height == 1 || shape_.width == 1) {
      Fail(ErrorKind::kConfiguration, array.path,
           "data.augment changes pictures, and samples of {}×{}×{} are none", shape_.height,
           shape_.width, shape_.channels);
    }
  }

  const Array& ArrayOf(int64_t sample) const {
    return *std::find_if(arrays_.rbegin(), arrays_.rend(),
                         [&](const Array& array) { return array.first <= sample; });
  }

  /// `use` gets a sample's elements as they are kept.
  template <typename Use>
  void VisitSample(int64_t sample, const Use& use) const {
    const Array& array = ArrayOf(sample);
    const auto elements = static_cast<size_t>(shape_.elements());
    std::visit(
        [&](const auto& x_nhwc) {
          use(std::span(x_nhwc).subspan(static_cast<size_t>(sample - array.first) * elements,
                                        elements));
        },
        array.x_nhwc);
  }

  /// Without names: the labels up to the largest of the first file, which is the training one where
  /// it is open.
  void NameClasses(const NpyConfig& config) {
    class_names_ = config.class_names;
    if (class_names_.empty()) {
      const int64_t end = arrays_.size() > 1 ? arrays_[1].first : count_;
      const int32_t largest = *std::max_element(y_n_.begin(), y_n_.begin() + end);
      for (int32_t label = 0; label <= largest; ++label) {
        class_names_.push_back(std::to_string(label));
      }
    }
    for (int64_t sample = 0; sample < count_; ++sample) {
      if (y_n_[sample] < std::ssize(class_names_)) continue;
      const Array& array = ArrayOf(sample);
      const bool from_one = y_n_[sample] == std::ssize(class_names_) &&
                            std::find(y_n_.begin(), y_n_.end(), 0) == y_n_.end();
      Fail(ErrorKind::kData, array.label_path, "label {} of sample {} exceeds the {} classes{}",
           y_n_[sample], sample - array.first, class_names_.size(),
           from_one ? " (hint: labels begin at 0: y - 1)" : "");
    }
  }

  /// Classes that a split lacks, training samples that are all alike, columns that tell nothing.
  void Warn(const OpenOptions& options) {
    for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
      const bool open = split == Split::kTrain        ? options.train
                        : split == Split::kValidation ? options.validation
                                                      : options.test;
      if (open && size(split) > 0) WarnOfClasses(split);
    }
    if (options.train && size(Split::kTrain) > 1) WarnOfConstants();
  }

  void WarnOfClasses(Split split) {
    std::vector<bool> seen(class_names_.size());
    for (const int64_t sample : Index(split)) seen[static_cast<size_t>(y_n_[sample])] = true;
    const auto missing = std::count(seen.begin(), seen.end(), false);
    const size_t first =
        static_cast<size_t>(std::find(seen.begin(), seen.end(), false) - seen.begin());
    if (missing > 0 && missing + 1 < std::ssize(seen)) {
      warnings_.push_back(
          fmt::format("the {} split has no sample of {} of {} classes, the first is '{}'",
                      SplitName(split), missing, seen.size(), class_names_[first]));
    } else if (missing + 1 >= std::ssize(seen)) {
      const auto only = std::find(seen.begin(), seen.end(), true) - seen.begin();
      warnings_.push_back(fmt::format("the {} split has samples of one class only: '{}'",
                                      SplitName(split), class_names_[static_cast<size_t>(only)]));
    }
  }

  void WarnOfConstants() {
    std::vector<float> first(static_cast<size_t>(shape_.elements())), other(first);
    std::vector<bool> varies(first.size());
    PlainFeatures(Split::kTrain, 0, first);
    for (int64_t i = 1; i < size(Split::kTrain); ++i) {
      PlainFeatures(Split::kTrain, i, other);
      for (size_t e = 0; e < first.size(); ++e) varies[e] = varies[e] || first[e] != other[e];
    }
    const auto constant = std::count(varies.begin(), varies.end(), false);
    const bool table = shape_.height == 1 && shape_.width == 1;
    if (constant == std::ssize(varies)) {
      warnings_.push_back("all training samples are the same: there is nothing to learn from");
    } else if (constant > 0 && table) {  // of images, corners often are
      const auto column = std::find(varies.begin(), varies.end(), false) - varies.begin();
      warnings_.push_back(fmt::format(
          "{} of {} columns hold one value in all training samples, the first is column {}",
          constant, varies.size(), column));
    }
  }

  Shape shape_;
  int64_t count_ = 0;
  Scaling scaling_;
  PixelAugmentConfig augment_;
  uint64_t seed_;
  std::vector<Array> arrays_;
  std::vector<int32_t> y_n_;
  std::array<std::vector<int64_t>, 4> index_;  // by split; nothing is perturbed
  std::vector<std::string> class_names_;
};

}  // namespace

std::unique_ptr<Dataset> OpenNpy(const DatasetConfig& config, const OpenOptions& options) {
  return std::make_unique<Npy>(config.npy, config.pixel_augment, options);
}

}  // namespace bisparse::data
