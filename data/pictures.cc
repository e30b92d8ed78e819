// SPDX-License-Identifier: Apache-2.0
// Read first: pictures.h.
#include "data/pictures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "data/augment_pixels.h"
#include "data/picture_cache.h"
#include "data/picture_folder.h"
#include "data/sample_table.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/random.h"
#include "deploy/frontend/pixels.h"

namespace bisparse::data {
namespace {

constexpr std::array<Split, 3> kSplits = {Split::kTrain, Split::kValidation, Split::kTest};

class Pictures : public Dataset {
 public:
  Pictures(const DatasetConfig& config, const OpenOptions& options)
      : config_(config.images),
        augment_(config.pixel_augment),
        seed_(options.seed),
        open_{options.train, options.validation, options.test, false} {
    counts_.one = "picture";
    counts_.several = "pictures";
    const SplitFolders folders =
        config_.whole_is_test ? SplitFolders{.test = config_.root} : FindSplitFolders(config_.root);
    if (folders.train.empty() && options.train) {
      Fail(ErrorKind::kData, config_.root,
           "holds folders of other splits and no train (hint: train/CLASS/PICTURE.png)");
    }
    class_names_ = config_.class_names;
    AddTraining(folders, config, options);
    AddFolder(folders.validation, Split::kValidation, config, options);
    AddFolder(folders.test, Split::kTest, config, options);
    for (const Split split : kSplits) {
      if (!Open(split)) counts_.of_split[static_cast<size_t>(split)].clear();
    }
    RequireEveryClass();
    FindMeans();
    scale_.emplace(config_.input);
    for (const Split split : kSplits) {
      if (!Open(split) || (size(split) == 0 && split != Split::kTrain)) continue;
      for (std::string& warning : ClassWarnings(*this, split)) {
        warnings_.push_back(std::move(warning));
      }
    }
  }

  Shape shape() const override { return config_.shape; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t size(Split split) const override { return std::ssize(Samples(split)); }
  int32_t Label(Split split, int64_t index) const override {
    return FileOf(At(split, index)).label;
  }
  const PictureInput* picture_input() const override { return &config_.input; }

  void Features(Split split, int64_t index, uint64_t epoch,
                std::span<float> features_hwc) const override {
    if (split != Split::kTrain || !augment_.Changes()) {
      return PlainFeatures(split, index, features_hwc);
    }
    const std::span<const uint8_t> kept = Bytes(At(split, index));
    std::vector<uint8_t> bytes(kept.begin(), kept.end());
    CounterRandom random = PixelRandom(seed_, epoch, index);
    AugmentPixels(augment_, config_.shape, random, bytes);
    scale_->Compute(bytes, features_hwc);
  }

  void PlainFeatures(Split split, int64_t index, std::span<float> features_hwc) const override {
    scale_->Compute(Bytes(At(split, index)), features_hwc);
  }

  std::string Describe(Split split, int64_t index, uint64_t) const override {
    return FileOf(At(split, index)).path;
  }

  /// Of labels and decoded bytes, wherever the files lie.
  uint64_t Fingerprint(Split split) const override {
    uint64_t sum = 0;
    for (const Sample& sample : Samples(split)) {
      sum = MixBits(sum ^ XxHash64(Bytes(sample)));
      sum = MixBits(sum ^ static_cast<uint64_t>(FileOf(sample).label));
    }
    return sum;
  }

 private:
  /// A folder that was scanned, or what is needed of it.
  struct Source {
    std::vector<PictureFile> files;
    DecodedPictures decoded;
  };
  struct Sample {
    uint32_t source;
    uint32_t file;
  };

  bool Open(Split split) const { return open_[static_cast<size_t>(split)]; }
  const std::vector<Sample>& Samples(Split split) const {
    return samples_[static_cast<size_t>(split)];
  }
  const Sample& At(Split split, int64_t index) const {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    return Samples(split)[static_cast<size_t>(index)];
  }
  const PictureFile& FileOf(const Sample& sample) const {
    return sources_[sample.source].files[sample.file];
  }
  std::span<const uint8_t> Bytes(const Sample& sample) const {
    return sources_[sample.source].decoded.Bytes(sample.file);
  }

  /// The folder of training samples, a part of which may be held out for the splits that have no folder.
  void AddTraining(const SplitFolders& folders, const DatasetConfig& config,
                   const OpenOptions& options) {
    if (folders.train.empty()) return;
    const double validation = folders.validation.empty() ? config_.validation_fraction : 0;
    const double test = folders.test.empty() ? config_.test_fraction : 0;
    const bool wanted =
        options.train || (options.validation && validation > 0) || (options.test && test > 0);
    // The names of the classes are those of the training, whatever is opened.
    if (!wanted && !class_names_.empty()) return;
    PictureFolder folder = ScanPictures(folders.train, class_names_);
    class_names_ = folder.class_names;
    if (!wanted) return;
    if (!config_.groups.empty() && validation == 0 && test == 0) {
      warnings_.push_back(
          fmt::format("{}: of no use, since every split has a folder of its own", config_.groups));
    }
    const std::vector<Split> split_of_file =
        HoldOut(folder, validation, test, config_.groups, warnings_);
    Add(std::move(folder), split_of_file, config, options);
  }

  void AddFolder(const std::string& root, Split split, const DatasetConfig& config,
                 const OpenOptions& options) {
    if (root.empty() || !Open(split)) return;
    PictureFolder folder = ScanPictures(root, class_names_);
    class_names_ = folder.class_names;
    const std::vector<Split> split_of_file(folder.files.size(), split);
    Add(std::move(folder), split_of_file, config, options);
  }

  void Add(PictureFolder folder, const std::vector<Split>& split_of_file,
           const DatasetConfig& config, const OpenOptions& options) {
    counts_.recordings += std::ssize(folder.files);
    counts_.notes.insert(counts_.notes.end(), folder.notes.begin(), folder.notes.end());
    counts_.passed_over.resize(class_names_.size());
    for (size_t c = 0; c < class_names_.size(); ++c) {
      counts_.passed_over[c] += folder.passed_over[c];
    }
    const std::string& cache = config_.cache.empty() ? options.cache_folder : config_.cache;
    std::vector<PictureFile> files;
    std::vector<Split> splits;
    for (size_t i = 0; i < folder.files.size(); ++i) {
      // A cache holds the whole folder: the same one for training and for what comes after it.
      if (cache.empty() && !Open(split_of_file[i])) continue;
      files.push_back(std::move(folder.files[i]));
      splits.push_back(split_of_file[i]);
    }
    DecodedPictures decoded(files,
                            {.shape = config_.shape,
                             .fit = config_.input.fit,
                             .cache_folder = cache,
                             .workers = options.workers,
                             .progress = options.progress},
                            warnings_);
    for (auto& of_class : counts_.of_split) of_class.resize(class_names_.size());
    const auto source = static_cast<uint32_t>(sources_.size());
    for (size_t i = 0; i < files.size(); ++i) {
      if (!Open(splits[i])) continue;
      ++counts_.opened;
      const auto split = static_cast<size_t>(splits[i]);
      ClassCount& count = counts_.of_split[split][static_cast<size_t>(files[i].label)];
      const std::string& fault = decoded.Fault(static_cast<int64_t>(i));
      if (fault.empty()) {
        ++count.used;
        samples_[split].push_back({source, static_cast<uint32_t>(i)});
        continue;
      }
      if (config.strict) throw Error(ErrorKind::kData, "", fault);
      ++count.broken;
      skipped_.push_back({files[i].path, fault});
    }
    sources_.push_back({std::move(files), std::move(decoded)});
  }

  void RequireEveryClass() const {
    if (!Open(Split::kTrain)) return;
    const std::vector<ClassCount>& counts = counts_.of_split[0];
    for (size_t c = 0; c < counts.size(); ++c) {
      if (counts[c].used > 0) continue;
      Fail(ErrorKind::kData, config_.root,
           "the class '{}' has no picture to train with{} (hint: remove the folder, or list the "
           "others in data.class_names)",
           class_names_[c],
           counts[c].broken > 0 ? fmt::format(", {} are broken", counts[c].broken) : "");
    }
  }

  /// Σ p and Σ p² are whole numbers, so that the order of the samples doesn't matter.
  void FindMeans() {
    PictureInput& input = config_.input;
    if (!input.mean_c.empty()) return;
    if (!Open(Split::kTrain)) {
      Fail(ErrorKind::kConfiguration, "data",
           "mean and deviation are not known, since the training samples are not opened");
    }
    const auto channels = static_cast<size_t>(config_.shape.channels);
    std::vector<uint64_t> sum_c(channels), squares_c(channels);
    for (const Sample& sample : Samples(Split::kTrain)) {
      const std::span<const uint8_t> bytes = Bytes(sample);
      for (size_t i = 0; i < bytes.size(); i += channels) {
        for (size_t c = 0; c < channels; ++c) {
          sum_c[c] += bytes[i + c];
          squares_c[c] += uint64_t{bytes[i + c]} * bytes[i + c];
        }
      }
    }
    const double values =
        static_cast<double>(size(Split::kTrain)) * config_.shape.height * config_.shape.width;
    for (size_t i = 0; i < channels; ++i) {
      const size_t c = input.order == ChannelOrder::kBgr ? channels - 1 - i : i;
      const double mean = static_cast<double>(sum_c[c]) / values;
      const double variance = static_cast<double>(squares_c[c]) / values - mean * mean;
      // A channel that never changes, but for rounding, becomes 0.
      const double deviation = variance > 1e-3 ? std::sqrt(variance) : 255.0;
      input.mean_c.push_back(static_cast<float>(mean / 255.0));
      input.deviation_c.push_back(std::max(1e-3f, static_cast<float>(deviation / 255.0)));
    }
  }

  ImagesConfig config_;
  PixelAugmentConfig augment_;
  uint64_t seed_;
  std::array<bool, 4> open_;  // by split; nothing is perturbed
  std::vector<Source> sources_;
  std::array<std::vector<Sample>, 4> samples_;
  std::vector<std::string> class_names_;
  std::optional<PixelScale> scale_;
};

}  // namespace

std::unique_ptr<Dataset> OpenPictures(const DatasetConfig& config, const OpenOptions& options) {
  return std::make_unique<Pictures>(config, options);
}

}  // namespace bisparse::data
