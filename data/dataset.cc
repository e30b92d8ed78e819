// SPDX-License-Identifier: Apache-2.0
// The choice of a data set and the checks of its configuration.
// Read first: dataset.h, config.h. Tested in: dataset_test.cc.
#include "data/dataset.h"

#include <cmath>
#include <set>

#include "data/npy.h"
#include "data/speech_commands.h"
#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

class Faults {
 public:
  void Add(std::string sentence) { list_.push_back(std::move(sentence)); }
  void Range(const char* key, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      Add(fmt::format("{} = {} is not in [{}, {}]", key, value, low, high));
    }
  }
  void Ordered(const char* key, double low, double high) {
    if (low > high) Add(fmt::format("{}_min = {} exceeds {}_max = {}", key, low, key, high));
  }
  std::vector<std::string> list_;
};

void CheckSpeech(const SpeechCommandsConfig& config, Faults& faults) {
  if (config.root.empty() && config.test_root.empty()) {
    faults.Add("root and test_root are both empty: no folder of recordings is given");
  }
  std::set<std::string> seen;
  for (const std::string& word : config.words) {
    if (word.empty() || word[0] == '_' || word[0] == '.' || word.find('/') != std::string::npos) {
      faults.Add(fmt::format("words: '{}' is not the name of a word's folder", word));
    } else if (!seen.insert(word).second) {
      faults.Add(fmt::format("words: '{}' is listed twice", word));
    }
  }
  const auto check_extra = [&](const char* key, const ExtraClassConfig& extra) {
    if (extra.amount == ExtraAmount::kFraction && !(extra.fraction > 0 && extra.fraction <= 10)) {
      faults.Add(fmt::format("{}.fraction = {} is not in (0, 10]", key, extra.fraction));
    }
  };
  check_extra("unknown", config.unknown);
  check_extra("silence", config.silence);
  faults.Range("validation_percent", config.validation_percent, 0, 100);
  faults.Range("testing_percent", config.testing_percent, 0, 100);
  if (config.validation_percent + config.testing_percent > 100) {
    faults.Add(fmt::format("validation_percent + testing_percent = {} exceeds 100",
                           config.validation_percent + config.testing_percent));
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
  if (config.train_x.empty() && config.validation_x.empty() && config.test_x.empty()) {
    faults.Add("train_x, validation_x and test_x are all empty: no samples are given");
  }
  if (!(config.validation_fraction >= 0 && config.validation_fraction < 1)) {
    faults.Add(
        fmt::format("validation_fraction = {} is not in [0, 1)", config.validation_fraction));
  }
  if (!std::isfinite(config.offset)) faults.Add("offset is not finite");
  if (!std::isfinite(config.scale) || config.scale == 0) {
    faults.Add(fmt::format("scale = {} is not usable", config.scale));
  }
}

void CheckAugment(const AugmentConfig& config, Faults& faults) {
  faults.Range("augment.time_shift_ms", config.time_shift_ms, 0, 10000);
  faults.Range("augment.gain_db", config.gain_db, 0, 60);
  faults.Range("augment.speed_min", config.speed_min, 0.5, 2);
  faults.Range("augment.speed_max", config.speed_max, 0.5, 2);
  faults.Ordered("augment.speed", config.speed_min, config.speed_max);
  faults.Range("augment.background_probability", config.background_probability, 0, 1);
  faults.Range("augment.background_snr_db_min", config.background_snr_db_min, -60, 120);
  faults.Range("augment.background_snr_db_max", config.background_snr_db_max, -60, 120);
  faults.Ordered("augment.background_snr_db", config.background_snr_db_min,
                 config.background_snr_db_max);
  faults.Range("augment.white_noise_probability", config.white_noise_probability, 0, 1);
  faults.Range("augment.white_noise_snr_db_min", config.white_noise_snr_db_min, -60, 120);
  faults.Range("augment.white_noise_snr_db_max", config.white_noise_snr_db_max, -60, 120);
  faults.Ordered("augment.white_noise_snr_db", config.white_noise_snr_db_min,
                 config.white_noise_snr_db_max);
  faults.Range("augment.reverb_probability", config.reverb_probability, 0, 1);
  faults.Range("augment.reverb_ms_max", config.reverb_ms_max, 100, 5000);
  faults.Range("augment.band_limit_probability", config.band_limit_probability, 0, 1);
  faults.Range("augment.band_low_hz_max", config.band_low_hz_max, 50, 100000);
  faults.Range("augment.band_high_hz_min", config.band_high_hz_min, 50, 100000);
  faults.Range("augment.time_masks", config.time_masks, 0, 16);
  faults.Range("augment.time_mask_frames", config.time_mask_frames, 0, 4096);
  faults.Range("augment.frequency_masks", config.frequency_masks, 0, 16);
  faults.Range("augment.frequency_mask_bands", config.frequency_mask_bands, 0, 4096);
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
  }
  return "?";
}

void Dataset::NoisyFeatures(Split, int64_t, double, std::span<float>) const {
  Fail(ErrorKind::kConfiguration, "noise",
       "is added to waveforms, and these samples are none (hint: recordings as data)");
}

std::vector<std::string> ConfigFaults(const DatasetConfig& config) {
  Faults faults;
  if (config.kind == DatasetKind::kSpeechCommands) {
    CheckSpeech(config.speech_commands, faults);
    CheckAugment(config.augment, faults);
    faults.Range("perturbed_copies", config.perturbed_copies, 0, 100);
  } else {
    CheckNpy(config.npy, faults);
  }
  return faults.list_;
}

std::unique_ptr<Dataset> OpenDataset(const DatasetConfig& config, const FrontEnd& front_end,
                                     const OpenOptions& options) {
  if (const std::vector<std::string> faults = ConfigFaults(config); !faults.empty()) {
    std::string all = faults[0];
    for (size_t i = 1; i < faults.size(); ++i) all.append("; ").append(faults[i]);
    Fail(ErrorKind::kConfiguration, "data", "{}", all);
  }
  return config.kind == DatasetKind::kNpy ? OpenNpy(config, options)
                                          : OpenSpeechCommands(config, front_end, options);
}

}  // namespace bisparse::data
