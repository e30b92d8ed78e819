// SPDX-License-Identifier: Apache-2.0
// Read first: phonemes.h. Tested in: phonemes_test.cc.
#include "data/synthesis/phonemes.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>

#include "data/synthesis/process.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

enum Stream : uint64_t { kNearStream = 11, kRandomStream = 12, kPhraseStream = 13 };
constexpr size_t kFewestLetters = 2, kMostLetters = 12;

/// What phonemes have in common: 0 vowels, 1 plosives, 2 fricatives and affricates, 3 nasals, 4 liquids and glides.
int KindOf(const std::string& phoneme) {
  constexpr std::array<std::string_view, 4> kConsonants = {
      " p b t d k g ? t2 ", " f v s z S Z T D h x C tS dZ H ", " m n N n- m- ", " l r w j r- *r "};
  for (size_t kind = 0; kind < kConsonants.size(); ++kind) {
    if (kConsonants[kind].find(" " + phoneme + " ") != std::string_view::npos) {
      return static_cast<int>(kind) + 1;
    }
  }
  return 0;
}

double ReplacementCost(const std::string& a, const std::string& b) {
  if (a == b) return 0.0;
  return KindOf(a) == KindOf(b) ? 0.5 : 1.0;
}

bool SoundsLikeOneOf(const Phonemes& phonemes, const std::vector<Phonemes>& taken) {
  return std::find(taken.begin(), taken.end(), phonemes) != taken.end();
}

std::vector<std::string> Words(const std::string& phrase) {
  std::istringstream text(phrase);
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

std::string Joined(const std::vector<std::string>& words, size_t begin, size_t end) {
  std::string phrase;
  for (size_t i = begin; i < end; ++i) phrase += (i == begin ? "" : " ") + words[i];
  return phrase;
}

}  // namespace

Phonemes SplitPhonemes(const std::string& line) {
  Phonemes phonemes;
  std::istringstream text(line);
  for (std::string word; text >> word;) {
    std::istringstream parts(word);
    for (std::string phoneme; std::getline(parts, phoneme, '_');) {
      std::erase_if(phoneme, [](char c) {
        return std::string_view("',#:;|%=").find(c) != std::string_view::npos;
      });
      if (!phoneme.empty()) phonemes.push_back(phoneme);
    }
  }
  return phonemes;
}

double PhonemeDistance(const Phonemes& a, const Phonemes& b) {
  std::vector<double> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<double>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    double diagonal = row[0];
    row[0] = static_cast<double>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const double replaced = diagonal + ReplacementCost(a[i - 1], b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1.0, row[j - 1] + 1.0});
    }
  }
  return row[b.size()];
}

std::vector<Phonemes> PhonemesOf(const std::vector<std::string>& phrases,
                                 const std::string& scratch) {
  const std::string in = (fs::path(scratch) / "phrases.txt").string(),
                    out = (fs::path(scratch) / "phonemes.txt").string();
  std::string text;
  for (const std::string& phrase : phrases) text += phrase + ".\n";
  WriteFileAtomically(in, std::string_view(text));
  const int status = RunProcess({"espeak-ng", "-v", "en-us", "-q", "-x", "--sep=_", "-f", in}, out);
  std::istringstream lines(ReadTextFile(out));
  std::vector<Phonemes> phonemes;
  for (std::string line; std::getline(lines, line);) phonemes.push_back(SplitPhonemes(line));
  fs::remove(in);
  fs::remove(out);
  if (status != 0 || phonemes.size() != phrases.size()) {
    Fail(ErrorKind::kData, "espeak-ng",
         "gave the phonemes of {} of {} phrases, exit code {} (hint: try espeak-ng -q -x yes)",
         phonemes.size(), phrases.size(), status);
  }
  return phonemes;
}

Lexicon ReadLexicon(const std::string& file, const std::string& scratch) {
  std::istringstream lines(ReadTextFile(file));
  std::set<std::string> words;
  for (std::string line; std::getline(lines, line);) {
    const bool plain =
        line.size() >= kFewestLetters && line.size() <= kMostLetters &&
        std::all_of(line.begin(), line.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (plain) words.insert(line);
  }
  if (words.empty()) {
    Fail(ErrorKind::kData, file, "has no word of {} to {} letters a-z, one a line", kFewestLetters,
         kMostLetters);
  }
  Lexicon lexicon{.words = {words.begin(), words.end()}, .phonemes = {}};
  lexicon.phonemes = PhonemesOf(lexicon.words, scratch);
  return lexicon;
}

std::vector<std::string> NearestWords(const Lexicon& lexicon, const Phonemes& target,
                                      const std::vector<Phonemes>& taken, int64_t count,
                                      uint64_t seed) {
  struct Near {
    double distance;
    uint64_t draw;
    size_t word;
    bool operator<(const Near& other) const {
      return std::tie(distance, draw, word) < std::tie(other.distance, other.draw, other.word);
    }
  };
  std::vector<Near> all;
  for (size_t i = 0; i < lexicon.words.size(); ++i) {
    // An insertion for each missing phoneme is the least: far words need no table.
    const auto lengths = static_cast<double>(std::max(lexicon.phonemes[i].size(), target.size()) -
                                             std::min(lexicon.phonemes[i].size(), target.size()));
    if (lengths > 3.0 || SoundsLikeOneOf(lexicon.phonemes[i], taken)) continue;
    const uint64_t draw = CounterRandom(seed, {kNearStream, i}).Next();
    all.push_back({PhonemeDistance(lexicon.phonemes[i], target), draw, i});
  }
  std::sort(all.begin(), all.end());
  std::vector<std::string> words;
  for (const Near& near : all) {
    if (std::ssize(words) >= count) break;
    words.push_back(lexicon.words[near.word]);
  }
  return words;
}

std::vector<std::string> RandomWords(const Lexicon& lexicon, const std::vector<Phonemes>& taken,
                                     int64_t count, uint64_t seed) {
  std::vector<size_t> order(lexicon.words.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  CounterRandom random(seed, {kRandomStream});
  std::vector<std::string> words;
  for (size_t i = 0; i < order.size() && std::ssize(words) < count; ++i) {
    std::swap(order[i], order[i + random.Below(static_cast<uint32_t>(order.size() - i))]);
    if (!SoundsLikeOneOf(lexicon.phonemes[order[i]], taken)) {
      words.push_back(lexicon.words[order[i]]);
    }
  }
  return words;
}

std::vector<std::string> NearestPhrases(const Lexicon& lexicon, const std::string& phrase,
                                        const std::vector<Phonemes>& words, int64_t count,
                                        uint64_t seed) {
  const std::vector<std::string> spoken = Words(phrase);
  BISPARSE_CHECK(spoken.size() == words.size());
  std::vector<std::string> near;
  std::set<std::string> seen = {phrase};
  const auto add = [&](const std::string& candidate) {
    if (std::ssize(near) < count && seen.insert(candidate).second) near.push_back(candidate);
  };
  for (size_t n = 1; n < spoken.size(); ++n) {
    add(Joined(spoken, 0, n));
    add(Joined(spoken, n, spoken.size()));
  }
  const auto size = static_cast<int64_t>(spoken.size());
  std::vector<std::vector<std::string>> like;
  for (size_t i = 0; i < spoken.size(); ++i) {
    like.push_back(NearestWords(lexicon, words[i], {words[i]}, count, seed + i));
  }
  // Two thirds with one word replaced, the words in turn; the rest with two.
  for (int64_t i = 0; std::ssize(near) < count * 2 / 3 && i < count * size; ++i) {
    const auto place = static_cast<size_t>(i % size), rank = static_cast<size_t>(i / size);
    if (rank >= like[place].size()) continue;
    std::vector<std::string> other = spoken;
    other[place] = like[place][rank];
    add(Joined(other, 0, other.size()));
  }
  CounterRandom random(seed, {kPhraseStream});
  for (int64_t tries = 0; std::ssize(near) < count && tries < 20 * count; ++tries) {
    std::vector<std::string> other = spoken;
    for (int replaced = 0; replaced < 2; ++replaced) {
      const uint32_t place = random.Below(static_cast<uint32_t>(spoken.size()));
      const std::vector<std::string>& from = like[place];
      if (from.empty()) continue;
      other[place] = from[random.Below(static_cast<uint32_t>(std::min<size_t>(from.size(), 30)))];
    }
    add(Joined(other, 0, other.size()));
  }
  return near;
}

std::vector<std::string> RandomPhrases(const Lexicon& lexicon, const std::vector<Phonemes>& taken,
                                       int64_t words, int64_t count, uint64_t seed) {
  CounterRandom random(seed, {kPhraseStream, 1});
  std::vector<int64_t> lengths;
  int64_t all = 0;
  for (int64_t i = 0; i < count; ++i) {
    lengths.push_back(1 + random.Below(static_cast<uint32_t>(words + 1)));
    all += lengths.back();
  }
  const std::vector<std::string> drawn = RandomWords(lexicon, taken, all, seed);
  std::vector<std::string> phrases;
  size_t begin = 0;
  for (const int64_t length : lengths) {
    const size_t end = std::min(begin + static_cast<size_t>(length), drawn.size());
    if (begin == end) break;
    phrases.push_back(Joined(drawn, begin, end));
    begin = end;
  }
  return phrases;
}

}  // namespace bisparse::data
