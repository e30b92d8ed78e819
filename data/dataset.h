// SPDX-License-Identifier: Apache-2.0
// A classification data set: features[H][W][C] and a label for each (split, index). What a sample
// becomes is a pure function of (seed, epoch, split, index), so neither the number of workers nor
// resuming changes it. Read first: config.h. Implemented by: speech_commands.cc, npy.cc,
// pictures.cc. Tested in: speech_commands_test.cc, npy_test.cc, pictures_test.cc.
#ifndef BISPARSE_DATA_DATASET_H_
#define BISPARSE_DATA_DATASET_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bisparse/shape.h"
#include "data/config.h"
#include "deploy/frontend/front_end.h"

namespace bisparse::data {

/// kPerturbed: copies of the validation clips, as other rooms, voices and devices would have recorded
/// them; the same for every run (DatasetConfig::perturbed_copies). Opened with kValidation.
/// kHeldOut: clips of SpeechCommandsConfig::held_out_words. Opened with kTrain.
enum class Split : uint8_t { kTrain, kValidation, kTest, kPerturbed, kHeldOut };

/// "train", "validation", "test", "perturbed" or "held_out".
const char* SplitName(Split split);

/// A recording or picture that could not be read, and why.
struct SkippedFile {
  std::string path, reason;
};

/// What became of the samples of one class in one split; of slots of `_unknown_` and `_silence_`,
/// `used` counts the slots, the rest the recordings that fill them.
struct ClassCount {
  int64_t used = 0;
  int64_t broken = 0;   ///< left out, see Dataset::skipped
  int64_t longer = 0;   ///< by more than a hop: what lies beyond the clip is not heard
  int64_t shorter = 0;  ///< by more than a hop: padded with silence
  int64_t silent = 0;   ///< no sample differs from 0
};

/// For the table of samples (sample_table.h), which counts labels itself where nothing is filled in.
struct SampleCounts {
  std::array<std::vector<ClassCount>, 3> of_split;  ///< [split][class]; empty: not opened
  std::vector<int64_t>
      passed_over;  ///< [class]: files in its folder that are no recordings; or empty
  std::vector<std::string> notes;  ///< one clause each, e.g. "test: 18 recordings, not opened"
  /// What a file is, one and several.
  const char *one = "clip", *several = "recordings";
  int64_t recordings = 0;    ///< in the folder, of all splits and words; pictures likewise
  int64_t opened = 0;        ///< of these, those that samples are made of
  int64_t silence_made = 0;  ///< samples of _silence_ that are no recordings of it
};

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual Shape shape() const = 0;
  /// In the order of the network's outputs.
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual int64_t size(Split split) const = 0;
  virtual int32_t Label(Split split, int64_t index) const = 0;
  /// features_hwc: shape().elements() floats. Augmented in kTrain only; `epoch` changes nothing in
  /// the other splits, whose features are computed once and kept. Thread-safe.
  virtual void Features(Split split, int64_t index, uint64_t epoch,
                        std::span<float> features_hwc) const = 0;
  /// The same without augmentation, whatever the split.
  virtual void PlainFeatures(Split split, int64_t index, std::span<float> features_hwc) const {
    Features(split, index, 0, features_hwc);
  }
  /// How pictures become features, means and deviations filled in; null: samples are no pictures.
  virtual const PictureInput* picture_input() const { return nullptr; }
  /// Features of a clip whose waveform A became (1 − alpha)·A + alpha·U[−1, 1] (Ahmad, Scheinkman
  /// 2019), alpha in [0, 1]: the same noise for every alpha and every run. Not of kTrain. Throws
  /// Error (kConfiguration) where samples are no recordings.
  virtual void NoisyFeatures(Split split, int64_t index, double alpha,
                             std::span<float> features_hwc) const;
  /// The file (or "file[index]") that a sample comes from, for messages.
  virtual std::string Describe(Split split, int64_t index, uint64_t epoch) const = 0;
  /// Tells these samples from others: labels, and the folders and names of recordings, wherever the
  /// data set lies (kTrain: as epoch 0 takes them). Arrays: labels and values.
  virtual uint64_t Fingerprint(Split split) const;

  /// Recordings or pictures left out; always empty with strict.
  const std::vector<SkippedFile>& skipped() const { return skipped_; }
  /// What a user should know, one sentence each, e.g. that a split has no clips of a class.
  const std::vector<std::string>& warnings() const { return warnings_; }
  const SampleCounts& counts() const { return counts_; }

 protected:
  std::vector<SkippedFile> skipped_;
  std::vector<std::string> warnings_;
  SampleCounts counts_;
};

/// Called now and then from the opening thread only while recordings are decoded.
using ProgressFunction = std::function<void(int64_t done, int64_t total)>;

struct OpenOptions {
  uint64_t seed = 1;
  int workers = 0;  ///< threads that decode; 0 = all cores
  bool train =
      true;  ///< false: leave the training split out (evaluation: nothing of it is decoded)
  bool validation = true, test = true;
  /// Whether clips of _silence_ are made where there is no background to cut them from.
  bool digital_silence = true;
  ProgressFunction progress;  ///< may be empty
  /// Where decoded pictures are kept for the next time (picture_cache.h); empty: in memory only.
  std::string cache_folder = {};
};

/// Scans, decodes and checks. Throws Error: kConfiguration for ConfigFaults, kData for files.
/// `front_end` is used by kSpeechCommands only.
std::unique_ptr<Dataset> OpenDataset(const DatasetConfig& config, const FrontEnd& front_end,
                                     const OpenOptions& options);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_DATASET_H_
