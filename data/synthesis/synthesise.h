// SPDX-License-Identifier: Apache-2.0
// Makes a data set of spoken commands or of a wake phrase with the speech synthesisers espeak-ng and flite, in the layout
// of Speech Commands. So the whole path runs on any machine without a download. They are run as processes, never linked
// (espeak-ng is GPL-3).
//
//   OUT/WORD/SPEAKER_nohash_N.wav                16 kHz, mono, 16 bit, `seconds` long; SPEAKER is eight hexadecimal digits;
//                                                WORD is a phrase with '_' between its words
//   OUT/_background_noise_/*.wav                 white and pink noise, mains hum, ten seconds each
//   OUT/validation_list.txt, testing_list.txt
//
// A speaker of espeak-ng is an accent with a voice variant. One of flite is a voice at one of five lengths of the vocal
// tract: it speaks slower by that factor, and is played faster. Whole variants and voices are held out: voices of the
// validation and testing clips are never heard in training, in any accent. Everything follows from
// the seed and the version of espeak-ng. Tested in: synthesise_test.cc.
#ifndef BISPARSE_DATA_SYNTHESIS_SYNTHESISE_H_
#define BISPARSE_DATA_SYNTHESIS_SYNTHESISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

/// Whose voices speak.
enum class Voices : uint8_t { kAll, kTraining, kValidation, kTesting };

struct SynthesisConfig {
  std::string out;
  std::vector<std::string> words = {"yes",   "no", "up",  "down", "left",
                                    "right", "on", "off", "stop", "go"};
  /// Other words, for the class _unknown_; each with clips_per_word / 5 clips.
  std::vector<std::string> unknown_words;
  int32_t clips_per_word = 220;
  /// Further words for _unknown_, taken from this list (one a line): those that sound most like `words` (phonemes.h), and
  /// any. Of phrases of several words, phrases.
  std::string word_list;
  int32_t near_misses = 0;           ///< for each of `words`
  int32_t other_words = 0;           ///< in all
  int32_t clips_per_other_word = 4;  ///< of each near miss and other word
  bool espeak = true, flite = false;
  Voices voices = Voices::kAll;
  double seconds = 1.0;  ///< length of a clip
  uint64_t seed = 1;
  int jobs = 0;  ///< processes at a time; 0 = all cores
  ProgressFunction progress;
};

struct SynthesisResult {
  int64_t clips = 0;    ///< written, over all words
  int64_t skipped = 0;  ///< clips that espeak-ng failed on
  int64_t speakers = 0;
  bool reused = false;  ///< the folder was complete already and nothing was done
};

/// Writes the folder beside its final place, as OUT.partial, and renames it: it is whole or absent. An OUT.partial from a
/// run that was ended is made anew, any other is an error. A folder made
/// with the same settings is reused, another one is an error. Throws Error: kConfiguration for
/// settings, kData where espeak-ng is missing (with the way to install it), fails on more than a
/// tenth of the clips, or a file can't be written.
SynthesisResult Synthesise(const SynthesisConfig& config);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SYNTHESIS_SYNTHESISE_H_
