// SPDX-License-Identifier: Apache-2.0
// Plain structs that say which data set is read and how; filled from YAML by train/config, or by
// hand. Paths are used as they are: whoever reads a YAML file resolves relative ones. Used by:
// data/dataset.h. Tested in: data/*_test.cc.
#ifndef BISPARSE_DATA_CONFIG_H_
#define BISPARSE_DATA_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/frontend/picture_input.h"

namespace bisparse::data {

/// Allowed values, both ends included. The configuration's schema and ConfigFaults both read them here.
struct Limits {
  double min, max;
};
namespace limits {
inline constexpr Limits kSpeed{0.5, 2}, kSnrDb{-60, 120}, kProbability{0, 1}, kBandHz{50, 100000},
    kMasks{0, 16}, kMaskSize{0, 4096}, kPercent{0, 100}, kPerturbedCopies{0, 100};
inline constexpr double kLargestExtra = 10;  ///< ExtraClassConfig::fraction, above 0
}  // namespace limits

enum class DatasetKind : uint8_t { kSpeechCommands, kNpy, kImages };

/// How many clips the class `_unknown_` or `_silence_` has in a split.
enum class ExtraAmount : uint8_t {
  kNone,      ///< the class does not exist
  kBalanced,  ///< as many as the listed words have on average
  kFraction,  ///< `fraction` of the number of clips of all listed words together (the official
              ///< rule)
};

/// Which clip a slot of `_unknown_` takes in training.
enum class UnknownDraw : uint8_t {
  kClips,  ///< each as often: frequent words have most slots
  kWords,  ///< folders (`root`, `other_roots`) take turns, in each folder its words, of each word its clips
};

struct ExtraClassConfig {
  ExtraAmount amount = ExtraAmount::kBalanced;
  double fraction = 0.1;  ///< with kFraction only; (0, 10]
};

/// How it is known who speaks, so that no voice is in two splits.
enum class SpeakerSource : uint8_t {
  kAuto,    ///< kFile where the file exists; kFolder for recordings that lie so; else kName
  kName,    ///< the file name up to "_nohash_"; without that, each name is a speaker of its own
  kFolder,  ///< WORD/SPEAKER/FILE
  kFile,    ///< speakers.csv or speakers.txt in the root, a line PATH,SPEAKER for each recording
};

/// Speech Commands in its official layout, WORD/SPEAKER_nohash_N.wav, or with a folder for each
/// speaker, WORD/SPEAKER/FILE; _background_noise_/, validation_list.txt and testing_list.txt.
/// Classes: `words` as listed, then _unknown_, then _silence_.
struct SpeechCommandsConfig {
  std::string root;
  /// Official test-set layout: one folder a class, _silence_, _unknown_. Empty: the testing split
  /// of `root`.
  std::string test_root;
  /// Empty: every word folder of `root`, sorted by name (there is no _unknown_ then).
  std::vector<std::string> words;
  ExtraClassConfig unknown;  ///< every other word; in training another part of them each epoch
  UnknownDraw unknown_draw = UnknownDraw::kClips;
  /// Further folders for training, WORD/…: recordings of listed words and of others. Speakers that `root`'s rule holds
  /// out stay out of training: by the folder's list files, else by names with "_nohash_".
  std::vector<std::string> other_roots;
  /// Other words that training never hears, in whichever folder they are: the split kHeldOut. Of a folder with
  /// validation_list.txt the recordings in that list, of others all but those of testing.
  std::vector<std::string> held_out_words;
  ExtraClassConfig
      silence;  ///< cut from _background_noise_ at a random gain; one in ten is all zeros
  SpeakerSource speakers = SpeakerSource::kAuto;
  /// Of the rule by speakers, used where `root` lacks a list file.
  double validation_percent = 10.0, testing_percent = 10.0;
};

/// A classification data set in .npy files: x is N×D, N×H×W, N×C×H×W (or N×H×W×C), f32 or u8; y is
/// N labels. Features are handed on channels last as (x − offset) · scale.
struct NpyConfig {
  std::string train_x, train_y;
  std::string validation_x, validation_y;  ///< empty: `validation_fraction` of the training samples
  std::string test_x, test_y;              ///< empty: no test split
  double validation_fraction = 0.1;        ///< [0, 1); the YAML wants more than 0
  bool channels_last = false;  ///< x of four dimensions is N×H×W×C instead of N×C×H×W
  double offset = 0.0, scale = 1.0;
  /// The network's first step takes the training samples' mean from each column (channel) and
  /// divides by their deviation; a data set's features are as they were before.
  bool normalise_columns = false;
  std::vector<std::string> class_names;  ///< empty: "0", "1", … up to the largest training label
};

/// A classification data set of pictures, a folder a class (pictures.h): ROOT/train/CLASS/… with ROOT/val or ROOT/validation
/// and ROOT/test, each where it exists; or ROOT/CLASS/…, which is split.
struct ImagesConfig {
  std::string root;
  bool whole_is_test = false;  ///< ROOT/CLASS/… are the test samples, whatever the names
  Shape shape;                 ///< of the network's input; 1 or 3 channels
  PictureInput input;          ///< no means: computed of the training samples
  std::vector<std::string> class_names;  ///< empty: every folder, sorted by name
  /// Parts that are held out where there is no folder for the split; [0, 0.9], less than 1 together.
  double validation_fraction = 0.1, test_fraction = 0.0;
  std::string groups;  ///< a file of lines PATH,GROUP: a group is held out as a whole; may be empty
  /// Folder of the decoded pictures; empty: OpenOptions::cache_folder.
  std::string cache;
};

/// Changes to training pictures, drawn anew for each (seed, epoch, picture); augment_pixels.h. Applies to pictures and to
/// arrays of bytes; as it stands it changes nothing.
struct PixelAugmentConfig {
  bool enabled = true;
  double flip_probability = 0.0;   ///< of exchanging left and right
  int32_t crop_padding = 0;        ///< moved by up to so many pixels in both directions
  double brightness = 0.0;         ///< factor, uniform in 1 ± this
  double contrast = 0.0;           ///< factor, uniform in 1 ± this
  double saturation = 0.0;         ///< factor, uniform in 1 ± this; three channels only
  double erase_probability = 0.0;  ///< of erasing a rectangle
  double erase_area_max = 0.25;    ///< its part of the picture, uniform in [0.02, this]

  bool Changes() const {
    return enabled && (flip_probability > 0 || crop_padding > 0 || brightness > 0 || contrast > 0 ||
                       saturation > 0 || erase_probability > 0);
  }
};

/// Changes to training samples, drawn anew for each (seed, epoch, clip). Waveform first, then
/// features. The waveform's part applies to Speech Commands' words, the masks to every speech
/// feature map.
struct AugmentConfig {
  bool enabled = true;
  double time_shift_ms = 100.0;             ///< uniform in ± this
  double gain_db = 6.0;                     ///< uniform in ± this
  double speed_min = 0.9, speed_max = 1.1;  ///< factor, uniform; pitch changes with it (resampling)
  double background_probability = 0.7;      ///< of mixing in a piece of _background_noise_
  double background_snr_db_min = 5.0, background_snr_db_max = 30.0;
  double white_noise_probability = 0.0;  ///< of adding white noise
  double white_noise_snr_db_min = 10.0, white_noise_snr_db_max = 40.0;
  double reverb_probability = 0.0;      ///< of a room's echo (effects.h)
  double reverb_ms_max = 400.0;         ///< in which it falls by 60 dB, uniform in [100, this]
  double band_limit_probability = 0.0;  ///< of losing bass and treble, as through a small device
  double band_low_hz_max = 400.0;       ///< lower edge, uniform in [50, this]
  double band_high_hz_min = 3000.0;     ///< upper edge, uniform in [this, half the rate]
  int32_t time_masks = 1;               ///< masks over frames in each clip
  int32_t time_mask_frames = 6;         ///< width of each, uniform in [0, this]
  int32_t frequency_masks = 1;          ///< masks over mel bands in each clip
  int32_t frequency_mask_bands = 4;     ///< width of each, uniform in [0, this]
  double trim_probability =
      0.0;  ///< of silence around the word, as recordings have that were cut (splice.h)
  // Of a slot of _unknown_:
  double reversed_probability = 0.0;  ///< of a listed word, backwards
  double spliced_probability = 0.0;   ///< of half a listed word and half of another word
};

/// A key of `data.augment` in the YAML: its value's place, what is allowed, what it means. The configuration's schema
/// and ConfigFaults both walk these lists. A row X_max that follows its X_min is not below it.
template <class T, class Config = AugmentConfig>
struct AugmentKey {
  const char* key;
  T Config::*value;
  Limits limits;
  const char* meaning;
};
inline constexpr AugmentKey<double> kAugmentReals[] = {
    {"time_shift_ms",
     &AugmentConfig::time_shift_ms,
     {0, 10000},
     "Shift in time, uniform in ± this."},
    {"gain_db", &AugmentConfig::gain_db, {0, 60}, "Gain, uniform in ± this."},
    {"speed_min", &AugmentConfig::speed_min, limits::kSpeed,
     "Slowest speed; pitch changes with it."},
    {"speed_max", &AugmentConfig::speed_max, limits::kSpeed, "Fastest speed."},
    {"background_probability", &AugmentConfig::background_probability, limits::kProbability,
     "Probability of mixing in a piece of `_background_noise_`."},
    {"background_snr_db_min", &AugmentConfig::background_snr_db_min, limits::kSnrDb,
     "Loudest background: signal-to-noise ratio."},
    {"background_snr_db_max", &AugmentConfig::background_snr_db_max, limits::kSnrDb,
     "Faintest background."},
    {"white_noise_probability", &AugmentConfig::white_noise_probability, limits::kProbability,
     "Probability of adding white noise."},
    {"white_noise_snr_db_min", &AugmentConfig::white_noise_snr_db_min, limits::kSnrDb,
     "Loudest white noise."},
    {"white_noise_snr_db_max", &AugmentConfig::white_noise_snr_db_max, limits::kSnrDb,
     "Faintest white noise."},
    {"reverb_probability", &AugmentConfig::reverb_probability, limits::kProbability,
     "Probability of a room's echo, direct sound 0 to 12 dB above it."},
    {"reverb_ms_max",
     &AugmentConfig::reverb_ms_max,
     {100, 5000},
     "Longest time in which the echo falls by 60 dB; from 100 on."},
    {"band_limit_probability", &AugmentConfig::band_limit_probability, limits::kProbability,
     "Probability of losing bass and treble, as through a small device."},
    {"band_low_hz_max", &AugmentConfig::band_low_hz_max, limits::kBandHz,
     "Highest lower edge; from 50 on."},
    {"band_high_hz_min", &AugmentConfig::band_high_hz_min, limits::kBandHz,
     "Lowest upper edge; up to half the sample rate."},
    {"trim_probability", &AugmentConfig::trim_probability, limits::kProbability,
     "Probability of digital silence around the word, as in recordings that were cut."},
    {"reversed_probability", &AugmentConfig::reversed_probability, limits::kProbability,
     "Part of the clips of `_unknown_` that are listed words, backwards."},
    {"spliced_probability", &AugmentConfig::spliced_probability, limits::kProbability,
     "Part of them that are half a listed word and half of another word."},
};
inline constexpr AugmentKey<int32_t> kAugmentCounts[] = {
    {"time_masks", &AugmentConfig::time_masks, limits::kMasks, "Masks over frames in each clip."},
    {"time_mask_frames", &AugmentConfig::time_mask_frames, limits::kMaskSize,
     "Width of each, uniform in 0 … this."},
    {"frequency_masks", &AugmentConfig::frequency_masks, limits::kMasks,
     "Masks over mel bands in each clip."},
    {"frequency_mask_bands", &AugmentConfig::frequency_mask_bands, limits::kMaskSize,
     "Width of each, uniform in 0 … this."},
};

inline constexpr AugmentKey<double, PixelAugmentConfig> kPixelReals[] = {
    {"flip_probability", &PixelAugmentConfig::flip_probability, limits::kProbability,
     "Probability of exchanging left and right."},
    {"brightness", &PixelAugmentConfig::brightness, limits::kProbability,
     "Every value times a factor, uniform in 1 ± this."},
    {"contrast", &PixelAugmentConfig::contrast, limits::kProbability,
     "Distance from the picture's mean grey times a factor, uniform in 1 ± this."},
    {"saturation", &PixelAugmentConfig::saturation, limits::kProbability,
     "Distance from the pixel's grey times a factor, uniform in 1 ± this; three channels only."},
    {"erase_probability", &PixelAugmentConfig::erase_probability, limits::kProbability,
     "Probability that a rectangle is filled with the picture's mean."},
    {"erase_area_max",
     &PixelAugmentConfig::erase_area_max,
     {0.02, 1},
     "Its part of the picture, uniform in 0.02 … this."},
};
inline constexpr AugmentKey<int32_t, PixelAugmentConfig> kPixelCounts[] = {
    {"crop_padding",
     &PixelAugmentConfig::crop_padding,
     {0, 256},
     "Moved by up to so many pixels in both directions; what comes in is black."},
};

struct DatasetConfig {
  DatasetKind kind = DatasetKind::kSpeechCommands;
  SpeechCommandsConfig speech_commands;
  NpyConfig npy;
  ImagesConfig images;
  AugmentConfig augment;             ///< of recordings
  PixelAugmentConfig pixel_augment;  ///< of pictures and arrays of bytes
  /// Perturbed copies of each validation clip (PerturbationOf in augment.h): the split kPerturbed.
  /// Five are one of each kind. Speech only.
  int32_t perturbed_copies = 5;
  bool strict =
      false;  ///< the first broken recording or picture is an error instead of being skipped and counted
};

/// Every fault of the values (ranges, probabilities), each beginning with its key in the YAML, e.g.
/// "data.augment.speed_min = 3 exceeds speed_max = 1.1"; empty if there is none. Does not look at
/// files.
std::vector<std::string> ConfigFaults(const DatasetConfig& config);

/// The same for paths: which splits will be opened decides what is missing.
std::vector<std::string> PathFaults(const DatasetConfig& config);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_CONFIG_H_
