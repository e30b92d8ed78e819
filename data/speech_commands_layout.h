// SPDX-License-Identifier: Apache-2.0
// The folders of Speech Commands, official or a user's own: which recordings there are, and which
// split each belongs to.
//   archive:  ROOT/WORD/SPEAKER_nohash_N.wav or ROOT/WORD/SPEAKER/*, ROOT/_background_noise_/*,
//             validation_list.txt, testing_list.txt, speakers.csv or speakers.txt
//   test set: ROOT/CLASS/*, with the classes _silence_ and _unknown_ among them
// Any format that libsndfile reads is taken (RecordingExtensions), also where a list says .wav.
// Source: Warden, "Speech Commands", arXiv:1804.03209, 2018, and the archive's README.
// For users: docs/own-recordings.md. Tested in: speech_commands_layout_test.cc.
#ifndef BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_
#define BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_

#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

class RecordingIndex;

inline constexpr const char* kUnknownClass = "_unknown_";
inline constexpr const char* kSilenceClass = "_silence_";
inline constexpr const char* kBackgroundFolder = "_background_noise_";
inline constexpr const char* kValidationList = "validation_list.txt";
inline constexpr const char* kTestingList = "testing_list.txt";

/// Files of a folder that are not taken, by extension (".m4a"), "hidden" (the name begins with a
/// dot) or "unreadable" (a dead link, a device).
using PassedOver = std::map<std::string, int64_t>;

/// "28 .m4a, 3 hidden".
std::string PassedOverText(const PassedOver& files);

/// Recordings by word, also from folders within a word's folder, each list sorted by path.
struct WordFolders {
  std::string root;
  std::map<std::string, std::vector<std::string>> words;  ///< folders not beginning with '_' or '.'
  std::vector<std::string> background;                    ///< _background_noise_/
  std::vector<std::string> unknown, silence;              ///< _unknown_/, _silence_/
  std::map<std::string, PassedOver> passed_over;          ///< by folder, where there are any
  std::vector<std::string> warnings;                      ///< one sentence each
  bool has_validation_list = false;
  int64_t recordings() const;  ///< all but the background
};

/// Throws Error (kData) where `root` is not a folder, holds no recordings, or has a folder for each
/// split instead of one for each word.
WordFolders ScanWordFolders(const std::string& root);

/// Decides the split of an archive's recordings: by its list files where they exist; what a missing
/// list would decide, and everything where there is none, by speaker (speakers.h). Warnings name
/// lines that match no recording.
class SplitRule {
 public:
  /// Throws Error (kData) for a list that is no UTF-8 text, of which no line matches a recording, or
  /// that contradicts the other one.
  SplitRule(const SpeechCommandsConfig& config, const WordFolders& folders);
  /// `path`: one of the folders' recordings.
  Split Of(const std::string& path) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  /// Whether there is such a list.
  bool ReadList(const std::string& root, const char* name, Split split,
                const RecordingIndex& index);

  std::map<std::string, Split> split_of_;  // by path
  std::vector<std::string> warnings_;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SPEECH_COMMANDS_LAYOUT_H_
