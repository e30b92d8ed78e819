// SPDX-License-Identifier: Apache-2.0
// Long recordings to measure a keyword spotter on, with a label file beside each.
//
//   OUT/stream_001.wav     16 kHz, mono, 16 bit (or .flac)
//   OUT/stream_001.txt     labels.h: GO's begin and end; `_other_ WORD`, `_talk_ SPEAKER/NAME`, `_noise_ KIND` for the rest
//   OUT/recipe.txt         how it was made; written last
//
// A stream is a row of scenes, 20 to 40 s each. A scene has a kind of noise, a level of speech L and a signal-to-noise
// ratio R, both drawn evenly. Its noise has the level L − R. Words, other words and talk follow each other in random
// order, pauses of random length between them, each at level L. They never overlap. Beneath lies the hiss of a quiet
// microphone, −77 dB.
//
//   level(x) = 10 log10(mean of x² over the 10 ms frames that are less than 30 dB below the loudest), dB of full scale
//   a word's begin and end: the loudest frame, and what is near it (150 ms) and clear of the clip's own noise; compose.cc
//
// Words and other words are drawn evenly over words, recordings without replacement until all were used. Everything
// follows from the seed and the recordings' samples; all arithmetic is in whole numbers, or in products of doubles. So
// the same seed gives the same bytes on every machine where recordings are WAV or FLAC at 16 kHz. Of other formats and
// rates, decoders and resamplers may round differently elsewhere. FLAC's bytes are libFLAC's; its samples are the same.
// Read first: material.h (what is in which split). Tested in: compose_test.cc.
#ifndef BISPARSE_DATA_COMPOSE_COMPOSE_H_
#define BISPARSE_DATA_COMPOSE_COMPOSE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

inline constexpr int32_t kStreamRateHz = 16000;

struct ComposeConfig {
  enum class Kind : uint8_t { kClips, kOthers, kNoise, kTalk };
  static const char* KindName(Kind kind);  ///< "clips", "others", "noise", "talk"

  std::string out;                 ///< a new or empty folder
  std::string clips;               ///< recordings of words: Speech Commands' layout, or a test set
  std::vector<std::string> words;  ///< empty: every folder
  std::vector<std::string> others, noise, talk;  ///< folders
  std::vector<Kind> whole;                       ///< taken whole, whatever the split
  Split split = Split::kTest;                    ///< not kPerturbed
  bool flac = false;
  int32_t streams = 1;  ///< 1 … 999
  double minutes = 60;  ///< of each; 0.1 … 240
  double words_per_minute = 6,
         others_per_minute = 6;  ///< 0 … 60; others count only where there are any
  double talk_frac = 0.4;        ///< of the time, 0 … 0.9; counts only where there is talk
  double snr_db_min = 5, snr_db_max = 20;         ///< −20 … 60
  double level_db_min = -32, level_db_max = -20;  ///< of speech; −60 … −10
  uint64_t seed = 1;
  std::function<void(int64_t done, int64_t total)> progress = {};  ///< in pieces of sound
};

struct ComposeResult {
  int64_t words = 0, others = 0, talk = 0;  ///< pieces
  double hours = 0, talk_hours = 0;
  int64_t clipped = 0;          ///< samples that reached full scale
  int64_t most_often = 0;       ///< how often the recording of a word was used that was used most
  int64_t talk_with_words = 0;  ///< recordings passed over for their transcript
  int64_t talk_without_transcript = 0;
  std::vector<std::string> skipped;  ///< recordings that are broken or silent, and why
  std::vector<std::string> warnings;
};

/// Throws Error: kConfiguration for numbers out of range and for more sound than the time holds, kData for folders and
/// files.
ComposeResult ComposeStreams(const ComposeConfig& config);

/// "training", "validation" or "test".
const char* SplitNameOf(Split split);

/// A piece's loudness and, of a word, where it is.
struct Loudness {
  double mean_square = 0;      ///< over the frames that count; 0: silent (no frame above −60 dB)
  int64_t begin = 0, end = 0;  ///< samples of the word
};
Loudness LoudnessOf(std::span<const int16_t> pcm);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_COMPOSE_COMPOSE_H_
