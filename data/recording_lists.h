// SPDX-License-Identifier: Apache-2.0
// Lists that name recordings, as users write them: with other extensions, separators, letter case or
// leading folders. A line means what it names without a doubt; what it does not name is counted.
// Tested in: speech_commands_layout_test.cc.
#ifndef BISPARSE_DATA_RECORDING_LISTS_H_
#define BISPARSE_DATA_RECORDING_LISTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bisparse::data {

/// The lines of a text file without byte order mark, carriage returns, blanks at both ends and empty
/// lines. Throws Error (kData), with a hint for UTF-16.
std::vector<std::string> ReadListLines(const std::string& path);

/// "yes/a.wav" of the path ROOT/yes/a.wav, which a scan of `root` gave.
std::string BelowRoot(const std::string& root, const std::string& path);

class RecordingIndex {
 public:
  RecordingIndex(const std::string& root, const std::vector<std::string>& paths);

  /// The recordings that `name` means, empty if none or if in doubt. Tried in turn:
  ///   the path below the root without its extension
  ///   the same without leading folders
  ///   the same in any letter case
  ///   of a name without a folder, the one recording of that name, or as many as `times`
  /// `times` is how often the list has this line.
  std::vector<std::string> Find(std::string name, int64_t times) const;

 private:
  std::map<std::string, std::vector<std::string>> by_key_, by_lower_key_, by_name_, by_lower_name_;
};

/// What a list says of each of its recordings: `said` is the line's second part (of speakers.csv).
struct ListedRecordings {
  struct Entry {
    std::string path, line, said;
  };
  std::vector<Entry> entries;
  int64_t lines = 0, unmatched = 0;
  std::string first_unmatched;
};
/// `with_second`: lines are "PATH,WHAT", "PATH<tab>WHAT" or "PATH WHAT".
ListedRecordings ReadRecordingList(const std::string& path, const RecordingIndex& index,
                                   bool with_second);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_RECORDING_LISTS_H_
