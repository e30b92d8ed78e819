// SPDX-License-Identifier: Apache-2.0
// What a stream can be composed of, in one split alone. Who is in which split:
//
//   words   a folder as Speech Commands has it: by its lists and speakers (speech_commands_layout.h); a test set
//           (_unknown_ or _silence_, no lists): the test. Folders that are no words of the list are other words.
//   others  the same, a folder for each word
//   noise   ROOT/KIND/FILE: by the source, a hash of the file's name. What differs in a last "-A", "-B" is one source.
//           In a folder called _background_noise_ each recording is cut as in training: 80 %, 10 %, 10 % of its length
//   talk    ROOT/SPEAKER/…/FILE: by the speaker, a hash of the folder's name
//
// Of 20 sources and more a hash below 20 % is validation, below 40 % test. Of fewer, the fifth with the smallest hashes
// is validation (at least one), the next test. Kinds of folders that are taken whole are in whatever split is asked
// for. Talk whose transcript holds a word is passed over. Read first: compose.h. Tested in: material_test.cc.
#ifndef BISPARSE_DATA_COMPOSE_MATERIAL_H_
#define BISPARSE_DATA_COMPOSE_MATERIAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "data/compose/compose.h"

namespace bisparse::data {

/// A recording, or the part of it between two fractions of its length.
struct SoundSource {
  std::string path;
  double from = 0, to = 1;
  bool operator==(const SoundSource&) const = default;
};

struct SoundGroup {
  std::string name;  ///< a word, a kind of noise, a speaker
  std::vector<SoundSource> sources;
};

struct Material {
  std::vector<SoundGroup> words;                ///< as the configuration lists them, else by name
  std::vector<SoundGroup> others, noise, talk;  ///< by name
  int64_t talk_with_words = 0;                  ///< passed over
  int64_t talk_without_transcript = 0;          ///< of the talk that is there
  std::vector<std::string> warnings;
};

/// Throws Error: kConfiguration for what contradicts itself, kData for folders that lack what is asked for.
Material FindMaterial(const ComposeConfig& config);

/// "1-17367" of "rain/1-17367-A.opus".
std::string NoiseSourceOf(const std::string& path);
/// Whether a transcript holds one of the words: whole words in any letter case, an 's after them or not. A word
/// "hey_robin" is two that follow each other.
bool HoldsWord(const std::string& transcript, const std::vector<std::string>& words);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_COMPOSE_MATERIAL_H_
