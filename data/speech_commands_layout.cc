// SPDX-License-Identifier: Apache-2.0
// Scanning of Speech Commands' folders and the split rules.
// Read first: speech_commands_layout.h. Tested in: speech_commands_layout_test.cc.
#include "data/speech_commands_layout.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "data/audio.h"
#include "data/recording_lists.h"
#include "data/speakers.h"
#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

std::string LowerExtension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return extension;
}

bool IsRecording(const std::string& extension) {
  const std::vector<std::string>& known = RecordingExtensions();
  return std::find(known.begin(), known.end(), extension) != known.end();
}

std::string KnownExtensions() {
  std::string text;
  for (const std::string& extension : RecordingExtensions()) text += " " + extension;
  return text;
}

/// Recordings of a folder and, with `within`, of the folders in it; what else there is is counted.
void AddRecordings(const fs::path& folder, bool within, std::vector<std::string>& paths,
                   PassedOver& passed_over) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    const bool hidden = entry.path().filename().string().starts_with('.');
    if (entry.is_directory(ignored)) {
      if (within && !hidden) AddRecordings(entry.path(), false, paths, passed_over);
      continue;
    }
    const std::string extension = LowerExtension(entry.path());
    if (hidden) {
      ++passed_over["hidden"];
    } else if (!entry.is_regular_file(ignored)) {
      ++passed_over["unreadable"];
    } else if (!IsRecording(extension)) {
      ++passed_over[extension.empty() ? "without extension" : extension];
    } else {
      paths.push_back(entry.path());
    }
  }
}

std::vector<std::string> Recordings(const fs::path& folder, WordFolders& folders) {
  std::vector<std::string> paths;
  PassedOver passed_over;
  AddRecordings(folder, /*within=*/true, paths, passed_over);
  std::sort(paths.begin(), paths.end());
  if (!passed_over.empty()) folders.passed_over[folder.filename()] = std::move(passed_over);
  return paths;
}

/// ROOT/training/yes/…: each split would become a class.
void RefuseSplitFolders(const WordFolders& folders) {
  static const std::set<std::string> splits = {"train",      "training",   "val", "valid",
                                               "validation", "validating", "dev", "test",
                                               "testing",    "eval"};
  const auto is_split = [](const auto& word) { return splits.contains(word.first); };
  if (folders.words.size() < 2 ||
      !std::all_of(folders.words.begin(), folders.words.end(), is_split)) {
    return;
  }
  Fail(ErrorKind::kData, folders.root,
       "has a folder for each split ('{}' …), not for each word (hint: one folder a word, and {} "
       "and "
       "{} name the recordings of the other splits)",
       folders.words.begin()->first, kValidationList, kTestingList);
}

void ScanEntry(const fs::directory_entry& entry, WordFolders& folders, int64_t& loose) {
  std::error_code ignored;
  const std::string name = entry.path().filename();
  if (!entry.is_directory(ignored)) {
    loose += name[0] != '.' && IsRecording(LowerExtension(entry.path()));
    return;
  }
  if (name == kBackgroundFolder) {
    folders.background = Recordings(entry.path(), folders);
  } else if (name == kUnknownClass) {
    folders.unknown = Recordings(entry.path(), folders);
  } else if (name == kSilenceClass) {
    folders.silence = Recordings(entry.path(), folders);
  } else if (name[0] == '_' && name != "__MACOSX") {
    std::vector<std::string> paths;
    PassedOver passed_over;
    AddRecordings(entry.path(), true, paths, passed_over);
    if (paths.empty()) return;
    folders.warnings.push_back(fmt::format(
        "{}: {} recordings are left out, for '_' begins no word (hint: {}, {} and {} mean "
        "something)",
        entry.path().string(), paths.size(), kBackgroundFolder, kUnknownClass, kSilenceClass));
  } else if (name[0] != '_' && name[0] != '.') {
    std::vector<std::string> recordings = Recordings(entry.path(), folders);
    if (!recordings.empty()) folders.words[name] = std::move(recordings);
  }
}

/// Folders that are meant as words and are none.
void WarnOfEmptyFolders(WordFolders& folders) {
  for (const auto& [folder, passed_over] : folders.passed_over) {
    if (folder[0] == '_' || folders.words.contains(folder)) continue;
    folders.warnings.push_back(fmt::format(
        "{}/{} is no class: it holds no recordings that can be read, but {} (hint: read are{})",
        folders.root, folder, PassedOverText(passed_over), KnownExtensions()));
  }
}

}  // namespace

std::string PassedOverText(const PassedOver& files) {
  std::string text;
  for (const auto& [kind, count] : files) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  }
  return text;
}

int64_t WordFolders::recordings() const {
  int64_t count = std::ssize(unknown) + std::ssize(silence);
  for (const auto& [word, paths] : words) count += std::ssize(paths);
  return count;
}

WordFolders ScanWordFolders(const std::string& root) {
  WordFolders folders;
  folders.root = root;
  int64_t loose = 0;
  try {
    if (!fs::is_directory(root)) {
      Fail(ErrorKind::kData, root,
           "not a folder (hint: the unpacked archive of Speech Commands, or your own recordings, "
           "with one folder a word)");
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
      ScanEntry(entry, folders, loose);
    }
    folders.has_validation_list = fs::exists(fs::path(root) / kValidationList);
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorKind::kData, root, "cannot be scanned: {}", error.what());
  }
  std::sort(folders.warnings.begin(), folders.warnings.end());
  if (folders.recordings() == 0) {
    PassedOver all;
    for (const auto& [folder, passed_over] : folders.passed_over) {
      for (const auto& [kind, count] : passed_over) all[kind] += count;
    }
    Fail(ErrorKind::kData, root, "holds no folder with recordings{} (hint: read are{})",
         !all.empty() ? ", but " + PassedOverText(all)
         : loose > 0  ? fmt::format(", but {} recordings beside the folders", loose)
                      : "",
         KnownExtensions());
  }
  RefuseSplitFolders(folders);
  WarnOfEmptyFolders(folders);
  if (loose > 0) {
    folders.warnings.push_back(fmt::format(
        "{}: {} recordings are left out, for they lie in no word's folder", root, loose));
  }
  return folders;
}

SplitRule::SplitRule(const SpeechCommandsConfig& config, const WordFolders& folders) {
  std::vector<std::string> paths = folders.unknown;
  for (const auto& [word, recordings] : folders.words) {
    paths.insert(paths.end(), recordings.begin(), recordings.end());
  }
  const RecordingIndex index(config.root, paths);
  const bool validation = ReadList(config.root, kValidationList, Split::kValidation, index);
  const bool testing = ReadList(config.root, kTestingList, Split::kTest, index);
  // A list says all about its split.
  const SplitShares shares = {.validation_percent = validation ? 0.0 : config.validation_percent,
                              .skipped_percent = validation ? config.validation_percent : 0.0,
                              .testing_percent = testing ? 0.0 : config.testing_percent};
  std::erase_if(paths, [&](const std::string& path) { return split_of_.contains(path); });
  if (shares.validation_percent + shares.testing_percent > 0) {
    split_of_.merge(SplitBySpeaker(config, index, paths, shares, warnings_));
  } else {
    for (const std::string& path : paths) split_of_[path] = Split::kTrain;
  }
}

bool SplitRule::ReadList(const std::string& root, const char* name, Split split,
                         const RecordingIndex& index) {
  const std::string path = (fs::path(root) / name).string();
  if (!fs::exists(path)) return false;
  const ListedRecordings list = ReadRecordingList(path, index, /*with_second=*/false);
  for (const auto& [recording, line, said] : list.entries) {
    const auto [entry, added] = split_of_.emplace(recording, split);
    if (!added && entry->second != split) {
      Fail(ErrorKind::kData, path, "'{}' is in the validation list too", line);
    }
  }
  if (list.unmatched == 0) return true;
  const std::string fault =
      fmt::format("{} of {} lines name no recording, or one of several, the first is '{}'",
                  list.unmatched, list.lines, list.first_unmatched);
  if (list.unmatched == list.lines) {
    Fail(ErrorKind::kData, path,
         "{} (hint: lines are WORD/FILE; without the list, speakers decide)", fault);
  }
  warnings_.push_back(path + ": " + fault);
  return true;
}

Split SplitRule::Of(const std::string& path) const { return split_of_.at(path); }

}  // namespace bisparse::data
