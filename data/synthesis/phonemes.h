// SPDX-License-Identifier: Apache-2.0
// Words that sound like others, found by their phonemes. A keyword spotter must be taught to tell them apart.
//
//   distance(a, b) = the cheapest way to make b of a: insert or leave out a phoneme (1), replace one by another (1), or by
//                    one of its own kind (½): vowels; plosives; fricatives and affricates; nasals; liquids and glides
//
// Phonemes are those that espeak-ng would speak (its mnemonics, voice en-us); it is run as a process.
// Source of the distance: Levenshtein 1966, with weights by manner of articulation.
// Tested in: phonemes_test.cc.
#ifndef BISPARSE_DATA_SYNTHESIS_PHONEMES_H_
#define BISPARSE_DATA_SYNTHESIS_PHONEMES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace bisparse::data {

using Phonemes = std::vector<std::string>;

/// "_"-separated mnemonics without stress and length: "g_'oU" → {"g", "oU"}.
Phonemes SplitPhonemes(const std::string& line);

double PhonemeDistance(const Phonemes& a, const Phonemes& b);

/// A word list with its phonemes.
struct Lexicon {
  std::vector<std::string> words;
  std::vector<Phonemes> phonemes;  ///< of each word
};

/// The words of `file` (one a line) that are 2 … 12 letters a-z, and their phonemes by espeak-ng. `scratch`: a folder for two
/// files while it works. Throws Error (kData) where the file has no such word or espeak-ng fails.
Lexicon ReadLexicon(const std::string& file, const std::string& scratch);

/// The phonemes of phrases by espeak-ng; as ReadLexicon.
std::vector<Phonemes> PhonemesOf(const std::vector<std::string>& phrases,
                                 const std::string& scratch);

/// The `count` words of the lexicon that are nearest to `target`, nearest first, ties in an order drawn from the seed.
/// Words that sound like one of `taken` are left out.
std::vector<std::string> NearestWords(const Lexicon& lexicon, const Phonemes& target,
                                      const std::vector<Phonemes>& taken, int64_t count,
                                      uint64_t seed);

/// `count` words at random, none of which sounds like one of `taken`.
std::vector<std::string> RandomWords(const Lexicon& lexicon, const std::vector<Phonemes>& taken,
                                     int64_t count, uint64_t seed);

/// What a phrase of several words is easily taken for, nearest first: each of its words replaced by one that sounds like it,
/// two of them replaced, and its beginnings and ends alone.
std::vector<std::string> NearestPhrases(const Lexicon& lexicon, const std::string& phrase,
                                        const std::vector<Phonemes>& words, int64_t count,
                                        uint64_t seed);

/// `count` phrases of 1 … words + 1 random words.
std::vector<std::string> RandomPhrases(const Lexicon& lexicon, const std::vector<Phonemes>& taken,
                                       int64_t words, int64_t count, uint64_t seed);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SYNTHESIS_PHONEMES_H_
