// SPDX-License-Identifier: Apache-2.0
// The choice of a data set and the checks of its configuration.
// Read first: dataset.h, config.h. Tested in: dataset_test.cc.
#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "data/npy.h"
#include "data/pictures.h"
#include "data/speech_commands.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/frontend/pixels.h"

namespace bisparse::data {
namespace {

class Faults {
 public:
  void Add(std::string sentence) { list_.push_back("data." + std::move(sentence)); }
  void Range(const std::string& key, double value, Limits limits) {
    if (!(value >= limits.min && value <= limits.max)) {
      Add(fmt::format("{} = {} is not in [{}, {}]", key, value, limits.min, limits.max));
    }
  }
  std::vector<std::string> list_;
};

void CheckSpeech(const SpeechCommandsConfig& config, Faults& faults) {
  std::set<std::string> seen;
  for (const std::string& word : config.words) {
    if (word.empty() || word[0] == '_' || word[0] == '.' || word.find('/') != std::string::npos) {
      faults.Add(fmt::format("words lists '{}', which is not the name of a word's folder", word));
    } else if (!seen.insert(word).second) {
      faults.Add(fmt::format("words lists '{}' twice", word));
    }
  }
  for (const std::string& word : config.held_out_words) {
    if (seen.contains(word)) {
      faults.Add(fmt::format("held_out_words lists '{}', which is one of data.words", word));
    }
  }
  const bool others = !config.other_roots.empty() || !config.held_out_words.empty();
  if (others && (config.words.empty() || config.unknown.amount == ExtraAmount::kNone)) {
    faults.Add(fmt::format(
        "{} lists words that are no class, and there is no class _unknown_ (hint: data.words, and "
        "unknown: balanced)",
        config.other_roots.empty() ? "held_out_words" : "other_paths"));
  }
  const auto check_extra = [&](const char* key, const ExtraClassConfig& extra) {
    if (extra.amount == ExtraAmount::kFraction &&
        !(extra.fraction > 0 && extra.fraction <= limits::kLargestExtra)) {
      faults.Add(
          fmt::format("{} = {} is not in (0, {}]", key, extra.fraction, limits::kLargestExtra));
    }
  };
  check_extra("unknown", config.unknown);
  check_extra("silence", config.silence);
  faults.Range("validation_percent", config.validation_percent, limits::kPercent);
  faults.Range("testing_percent", config.testing_percent, limits::kPercent);
  if (config.validation_percent + config.testing_percent > 100) {
    faults.Add(fmt::format("validation_percent = {} and testing_percent = {} exceed 100 together",
                           config.validation_percent, config.testing_percent));
  }
}

void CheckNpy(const NpyConfig& config, Faults& faults) {
  const auto pair = [&](const char* x_key, const std::string& x, const char* y_key,
                        const std::string& y) {
    if (x.empty() != y.empty()) {
      faults.Add(fmt::format("{} is given without {}", x.empty() ? y_key : x_key,
                             x.empty() ? x_key : y_key));
    }
  };
  pair("train_x", config.train_x, "train_y", config.train_y);
  pair("validation_x", config.validation_x, "validation_y", config.validation_y);
  pair("test_x", config.test_x, "test_y", config.test_y);
  if (!(config.validation_fraction >= 0 && config.validation_fraction < 1)) {
    faults.Add(
        fmt::format("validation_fraction = {} is not in [0, 1)", config.validation_fraction));
  }
  if (!std::isfinite(config.offset)) {
    faults.Add(fmt::format("offset = {} is no finite number", config.offset));
  }
  if (!std::isfinite(config.scale) || config.scale == 0) {
    faults.Add(fmt::format("scale = {} makes every sample the same", config.scale));
  }
}

void CheckAugment(const AugmentConfig& config, Faults& faults) {
  const char* last_key = "";
  double last = 0;
  for (const AugmentKey<double>& row : kAugmentReals) {
    const std::string key = row.key;
    const double value = config.*row.value;
    faults.Range("augment." + key, value, row.limits);
    if (key.ends_with("_max")) {
      const std::string name = key.substr(0, key.size() - 4);
      if (name + "_min" == last_key && last > value) {
        faults.Add(fmt::format("augment.{} = {} exceeds {} = {}", last_key, last, key, value));
      }
    }
    last_key = row.key;
    last = value;
  }
  for (const AugmentKey<int32_t>& row : kAugmentCounts) {
    faults.Range("augment." + std::string(row.key), config.*row.value, row.limits);
  }
  if (config.reversed_probability + config.spliced_probability > 1) {
    faults.Add(fmt::format(
        "augment.reversed_probability = {} and spliced_probability = {} exceed 1 together",
        config.reversed_probability, config.spliced_probability));
  }
}

void CheckPixelAugment(const PixelAugmentConfig& config, Faults& faults) {
  for (const auto& row : kPixelReals) {
    faults.Range("augment." + std::string(row.key), config.*row.value, row.limits);
  }
  for (const auto& row : kPixelCounts) {
    faults.Range("augment." + std::string(row.key), config.*row.value, row.limits);
  }
}

void CheckImages(const ImagesConfig& config, Faults& faults) {
  for (const std::string& name : config.class_names) {
    if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos) {
      faults.Add(fmt::format("class_names lists '{}', which is not the name of a folder", name));
    }
  }
  PictureInput input = config.input;
  if (input.mean_c.empty() && input.deviation_c.empty()) {  // they will be computed
    input.mean_c.assign(static_cast<size_t>(std::max(0, config.shape.channels)), 0.5f);
    input.deviation_c = input.mean_c;
  }
  if (config.shape.channels != 1 && config.shape.channels != 3) {
    faults.Add(fmt::format("input = {}x{}x{}: pictures have 1 or 3 channels", config.shape.height,
                           config.shape.width, config.shape.channels));
  } else if (std::max(config.shape.height, config.shape.width) > kMaxPictureSide) {
    faults.Add(fmt::format("input = {}x{}x{}: at most {} rows and columns", config.shape.height,
                           config.shape.width, config.shape.channels, kMaxPictureSide));
  } else if (const std::string fault = PictureInputFault(input, config.shape); !fault.empty()) {
    // "mean has 1 value, …", "deviation of channel 0 = …"
    faults.Add(fault);
  }
  constexpr Limits kPart{0, 0.9};
  faults.Range("validation_fraction", config.validation_fraction, kPart);
  faults.Range("test_fraction", config.test_fraction, kPart);
  if (config.validation_fraction + config.test_fraction > 0.9) {
    faults.Add(fmt::format("validation_fraction = {} and test_fraction = {} exceed 0.9 together",
                           config.validation_fraction, config.test_fraction));
  }
}

}  // namespace

const char* SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kValidation:
      return "validation";
    case Split::kTest:
      return "test";
    case Split::kPerturbed:
      return "perturbed";
    case Split::kHeldOut:
      return "held_out";
  }
  return "?";
}

void Dataset::NoisyFeatures(Split, int64_t, double, std::span<float>) const {
  Fail(ErrorKind::kConfiguration, "noise",
       "is added to waveforms, and these samples are none (hint: recordings as data)");
}

uint64_t Dataset::Fingerprint(Split split) const {
  std::string text;
  for (int64_t i = 0; i < size(split); ++i) {
    const std::string what = Describe(split, i, 0);
    // The last two parts of its path: the folder and the file.
    size_t begin = what.rfind('/');
    if (begin != std::string::npos && begin > 0) begin = what.rfind('/', begin - 1);
    text += fmt::format("{}\n{}\n", Label(split, i),
                        begin == std::string::npos ? what : what.substr(begin + 1));
  }
  return XxHash64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::vector<std::string> ConfigFaults(const DatasetConfig& config) {
  Faults faults;
  if (config.kind == DatasetKind::kSpeechCommands) {
    CheckSpeech(config.speech_commands, faults);
    CheckAugment(config.augment, faults);
    faults.Range("perturbed_copies", config.perturbed_copies, limits::kPerturbedCopies);
  } else {
    if (config.kind == DatasetKind::kNpy) CheckNpy(config.npy, faults);
    if (config.kind == DatasetKind::kImages) CheckImages(config.images, faults);
    CheckPixelAugment(config.pixel_augment, faults);
  }
  return faults.list_;
}

std::vector<std::string> PathFaults(const DatasetConfig& config) {
  if (config.kind == DatasetKind::kSpeechCommands) {
    const SpeechCommandsConfig& speech = config.speech_commands;
    if (!speech.root.empty() || !speech.test_root.empty()) return {};
    return {
        "data.path and data.test_path are both empty: no folder of recordings is given (hint: "
        "--data FOLDER)"};
  }
  if (config.kind == DatasetKind::kImages) {
    if (!config.images.root.empty()) return {};
    return {"data.path is empty: no folder of pictures is given (hint: --data FOLDER)"};
  }
  const NpyConfig& npy = config.npy;
  if (!npy.train_x.empty() || !npy.validation_x.empty() || !npy.test_x.empty()) return {};
  return {"data.train_x, data.validation_x and data.test_x are all empty: no samples are given"};
}

std::unique_ptr<Dataset> OpenDataset(const DatasetConfig& config, const FrontEnd& front_end,
                                     const OpenOptions& options) {
  std::vector<std::string> faults = ConfigFaults(config);
  const std::vector<std::string> of_paths = PathFaults(config);
  faults.insert(faults.end(), of_paths.begin(), of_paths.end());
  if (!faults.empty()) {
    std::string all = faults[0];
    for (size_t i = 1; i < faults.size(); ++i) all.append("; ").append(faults[i]);
    Fail(ErrorKind::kConfiguration, "", "{}", all);
  }
  switch (config.kind) {
    case DatasetKind::kSpeechCommands:
      return OpenSpeechCommands(config, front_end, options);
    case DatasetKind::kNpy:
      return OpenNpy(config, options);
    case DatasetKind::kImages:
      return OpenPictures(config, options);
  }
  return nullptr;
}

}  // namespace bisparse::data
