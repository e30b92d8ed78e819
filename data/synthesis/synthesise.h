// SPDX-License-Identifier: Apache-2.0
// Makes a small data set of spoken commands with the speech synthesiser espeak-ng, in the layout of Speech Commands.
// So the whole path runs on any machine without a download. espeak-ng is GPL-3: it is run as a process, never linked.
//
//   OUT/WORD/SPEAKER_nohash_N.wav                16 kHz, mono, 16 bit, one second; SPEAKER is eight hexadecimal digits
//   OUT/_background_noise_/*.wav                 white and pink noise, mains hum, ten seconds each
//   OUT/validation_list.txt, testing_list.txt
//
// A speaker is an accent with a voice variant. Whole variants are held out: voices of the
// validation and testing clips are never heard in training, in any accent. Everything follows from
// the seed and the version of espeak-ng. Tested in: synthesise_test.cc.
#ifndef BISPARSE_DATA_SYNTHESIS_SYNTHESISE_H_
#define BISPARSE_DATA_SYNTHESIS_SYNTHESISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

struct SynthesisConfig {
  std::string out;
  std::vector<std::string> words = {"yes",   "no", "up",  "down", "left",
                                    "right", "on", "off", "stop", "go"};
  /// Other words, for the class _unknown_; each with clips_per_word / 5 clips.
  std::vector<std::string> unknown_words;
  int32_t clips_per_word = 220;
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
