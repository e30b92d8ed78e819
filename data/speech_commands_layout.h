// SPDX-License-Identifier: Apache-2.0
// The folders of Speech Commands: which recordings there are, and which split each belongs to.
//   archive:  ROOT/WORD/SPEAKER_nohash_N.wav, ROOT/_background_noise_/*, validation_list.txt,
//   testing_list.txt test set: ROOT/CLASS/*, with the classes _silence_ and _unknown_ among them
// .flac is taken like .wav, also where a list file says .wav.
// Source: Warden, "Speech Commands", arXiv:1804.03209, 2018, and the archive's README.
// Tested in: speech_commands_layout_test.cc.
#ifndef BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_
#define BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

inline constexpr const char* kUnknownClass = "_unknown_";
inline constexpr const char* kSilenceClass = "_silence_";
inline constexpr const char* kBackgroundFolder = "_background_noise_";

/// The official rule: a hash of the speaker (the file name up to "_nohash_") decides, so that all
/// clips of a speaker are in one split, also when clips are added later. `file_name` is a path or a
/// name; percentages in [0, 100].
Split SplitOfSpeaker(std::string_view file_name, double validation_percent, double testing_percent);

/// Recordings (.wav, .flac) by word, each list sorted by path; only the folders of the kind that is
/// asked for.
struct WordFolders {
  std::map<std::string, std::vector<std::string>> words;  ///< folders not beginning with '_' or '.'
  std::vector<std::string> background;                    ///< _background_noise_/
  std::vector<std::string> unknown, silence;              ///< _unknown_/, _silence_/
};

/// Throws Error (kData) where `root` is not a folder or holds no recordings.
WordFolders ScanWordFolders(const std::string& root);

/// Decides the split of recordings below `root`: by its list files where at least one exists, else
/// by speaker.
class SplitRule {
 public:
  SplitRule(const std::string& root, double validation_percent, double testing_percent);
  Split Of(const std::string& path) const;
  bool by_lists() const { return by_lists_; }

 private:
  double validation_percent_, testing_percent_;
  bool by_lists_ = false;
  std::map<std::string, Split> listed_;  // "word/name" without extension
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_
