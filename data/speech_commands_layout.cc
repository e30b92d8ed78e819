// SPDX-License-Identifier: Apache-2.0
// Scanning of Speech Commands' folders and the split rules.
// Read first: speech_commands_layout.h. Tested in: speech_commands_layout_test.cc.
#include "data/speech_commands_layout.h"

#include <nettle/sha1.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

bool IsRecording(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return extension == ".wav" || extension == ".flac";
}

std::vector<std::string> Recordings(const fs::path& folder) {
  std::vector<std::string> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && IsRecording(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// "word/name" without extension, of a path or a line of a list file.
std::string ListKey(const fs::path& path) {
  return (path.parent_path().filename() / path.stem()).string();
}

}  // namespace

Split SplitOfSpeaker(std::string_view file_name, double validation_percent,
                     double testing_percent) {
  if (const size_t slash = file_name.rfind('/'); slash != std::string_view::npos) {
    file_name.remove_prefix(slash + 1);
  }
  const std::string_view speaker = file_name.substr(0, file_name.find("_nohash_"));
  sha1_ctx context;
  sha1_init(&context);
  sha1_update(&context, speaker.size(), reinterpret_cast<const uint8_t*>(speaker.data()));
  uint8_t digest[SHA1_DIGEST_SIZE];
  sha1_digest(&context, sizeof digest, digest);
  // The digest as a big-endian number modulo 2^27: its last 27 bits.
  constexpr uint32_t kMaxClipsPerWord = (1u << 27) - 1;
  const uint32_t last = uint32_t{digest[16]} << 24 | uint32_t{digest[17]} << 16 |
                        uint32_t{digest[18]} << 8 | digest[19];
  const double percent = (last & kMaxClipsPerWord) * (100.0 / kMaxClipsPerWord);
  if (percent < validation_percent) return Split::kValidation;
  if (percent < validation_percent + testing_percent) return Split::kTest;
  return Split::kTrain;
}

WordFolders ScanWordFolders(const std::string& root) {
  WordFolders folders;
  try {
    if (!fs::is_directory(root)) {
      Fail(ErrorKind::kData, root,
           "not a folder (hint: the unpacked archive of Speech Commands, with one folder a word)");
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
      if (!entry.is_directory()) continue;
      const std::string name = entry.path().filename();
      if (name == kBackgroundFolder) {
        folders.background = Recordings(entry.path());
      } else if (name == kUnknownClass) {
        folders.unknown = Recordings(entry.path());
      } else if (name == kSilenceClass) {
        folders.silence = Recordings(entry.path());
      } else if (name[0] != '_' && name[0] != '.') {
        std::vector<std::string> recordings = Recordings(entry.path());
        if (!recordings.empty()) folders.words[name] = std::move(recordings);
      }
    }
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorKind::kData, root, "cannot be scanned: {}", error.what());
  }
  if (folders.words.empty() && folders.unknown.empty() && folders.silence.empty()) {
    Fail(ErrorKind::kData, root, "holds no folder with .wav or .flac recordings");
  }
  return folders;
}

SplitRule::SplitRule(const std::string& root, double validation_percent, double testing_percent)
    : validation_percent_(validation_percent), testing_percent_(testing_percent) {
  const auto read_list = [&](const char* name, Split split) {
    const fs::path path = fs::path(root) / name;
    if (!fs::exists(path)) return;
    by_lists_ = true;
    std::istringstream lines(ReadTextFile(path.string()));
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty()) continue;
      const auto [entry, added] = listed_.emplace(ListKey(line), split);
      if (!added && entry->second != split) {
        Fail(ErrorKind::kData, path.string(), "'{}' is in the validation list too", line);
      }
    }
  };
  read_list("validation_list.txt", Split::kValidation);
  read_list("testing_list.txt", Split::kTest);
}

Split SplitRule::Of(const std::string& path) const {
  if (!by_lists_) return SplitOfSpeaker(path, validation_percent_, testing_percent_);
  const auto entry = listed_.find(ListKey(path));
  return entry == listed_.end() ? Split::kTrain : entry->second;
}

}  // namespace bisparse::data
