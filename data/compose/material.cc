// SPDX-License-Identifier: Apache-2.0
// Read first: material.h.
#include "data/compose/material.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "data/audio.h"
#include "data/recording_lists.h"
#include "data/speech_commands_layout.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

/// Of noise and talk.
constexpr int64_t kValidationPercent = 20, kTestPercent = 20, kFewSources = 20;

uint64_t HashOf(const std::string& text) {
  return XxHash64(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return text;
}

/// Folders of one kind hold sources; which are the split's?
std::set<std::string> SourcesOfSplit(const std::set<std::string>& names, Split split,
                                     const std::string& folder, ComposeConfig::Kind kind) {
  std::vector<std::pair<uint64_t, std::string>> by_hash;
  for (const std::string& name : names) by_hash.emplace_back(HashOf(name), name);
  std::sort(by_hash.begin(), by_hash.end());
  const int64_t count = std::ssize(by_hash);
  if (count < 3) {
    Fail(ErrorKind::kData, folder,
         "holds {} {}, too few to share out over training, validation and test (hint: --whole {} "
         "takes all, where the splits are your own affair)",
         count, kind == ComposeConfig::Kind::kTalk ? "speakers" : "sources of noise",
         ComposeConfig::KindName(kind));
  }
  std::set<std::string> taken;
  for (int64_t rank = 0; rank < count; ++rank) {
    const auto& [hash, name] = by_hash[static_cast<size_t>(rank)];
    int64_t place = static_cast<int64_t>(hash % 100), validation = kValidationPercent,
            test = kTestPercent;
    if (count < kFewSources) {
      place = rank;
      validation = test = std::max<int64_t>(1, count / 5);
    }
    const Split of = place < validation          ? Split::kValidation
                     : place < validation + test ? Split::kTest
                                                 : Split::kTrain;
    if (of == split) taken.insert(name);
  }
  return taken;
}

/// Recordings and transcripts below a folder.
struct Found {
  std::vector<std::string> recordings;             // sorted
  std::map<std::string, std::string> transcripts;  // by name without extension
};

bool IsRecording(const fs::path& path) {
  const std::vector<std::string>& known = RecordingExtensions();
  return std::find(known.begin(), known.end(), Lower(path.extension())) != known.end();
}

Found Scan(const std::string& root) {
  Found found;
  try {
    if (!fs::is_directory(root)) Fail(ErrorKind::kData, root, "not a folder");
    for (auto entry = fs::recursive_directory_iterator(root);
         entry != fs::recursive_directory_iterator(); ++entry) {
      std::error_code ignored;
      const std::string name = entry->path().filename();
      if (name.starts_with('.')) {
        if (entry->is_directory(ignored)) entry.disable_recursion_pending();
        continue;
      }
      if (!entry->is_regular_file(ignored)) continue;
      if (name.ends_with(".trans.txt")) {
        for (const std::string& line : ReadListLines(entry->path())) {
          const size_t blank = line.find_first_of(" \t");
          if (blank != std::string::npos)
            found.transcripts[line.substr(0, blank)] = line.substr(blank + 1);
        }
      } else if (IsRecording(entry->path())) {
        found.recordings.push_back(entry->path());
      }
    }
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorKind::kData, root, "cannot be scanned: {}", error.what());
  }
  if (found.recordings.empty()) Fail(ErrorKind::kData, root, "holds no recordings");
  std::sort(found.recordings.begin(), found.recordings.end());
  return found;
}

/// First folder of `path` below `root`; of a recording that lies in the root itself, `loose`.
std::string GroupOf(const std::string& root, const std::string& path, const std::string& loose) {
  const std::string below = BelowRoot(root, path);
  const size_t slash = below.find('/');
  return slash == std::string::npos ? loose : below.substr(0, slash);
}

std::string NameOf(const std::string& folder) {
  const fs::path path(folder);
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

class Finder {
 public:
  explicit Finder(const ComposeConfig& config) : config_(config) {}

  Material Find() {
    AddWords();
    for (const std::string& folder : config_.others) AddOthers(folder);
    for (const std::string& folder : config_.noise) AddNoise(folder);
    for (const std::string& folder : config_.talk) AddTalk(folder);
    Sorted(others_, material_.others);
    Sorted(noise_, material_.noise);
    Sorted(talk_, material_.talk);
    Require("--others", config_.others, material_.others);
    Require("--noise", config_.noise, material_.noise);
    Require("--talk", config_.talk, material_.talk);
    return std::move(material_);
  }

 private:
  using Groups = std::map<std::string, std::vector<SoundSource>>;

  static void Sorted(Groups& groups, std::vector<SoundGroup>& out) {
    for (auto& [name, sources] : groups) out.push_back({name, std::move(sources)});
  }

  void Require(const char* flag, const std::vector<std::string>& folders,
               const std::vector<SoundGroup>& groups) const {
    if (folders.empty() || !groups.empty()) return;
    Fail(ErrorKind::kData, flag, "{} holds nothing of the {} split", fmt::join(folders, ", "),
         SplitNameOf(config_.split));
  }

  bool Whole(ComposeConfig::Kind kind) const {
    return std::find(config_.whole.begin(), config_.whole.end(), kind) != config_.whole.end();
  }

  /// The recordings of a folder of words that belong to the split.
  std::map<std::string, std::vector<std::string>> WordsOf(const std::string& root,
                                                          ComposeConfig::Kind kind) {
    WordFolders folders = ScanWordFolders(root);
    Append(folders.warnings);
    std::map<std::string, std::vector<std::string>> words = folders.words;
    if (!folders.unknown.empty()) words[kUnknownClass] = folders.unknown;
    const bool lists =
        fs::exists(fs::path(root) / kValidationList) || fs::exists(fs::path(root) / kTestingList);
    const bool test_set = folders.background.empty() && !lists &&
                          (!folders.unknown.empty() || !folders.silence.empty());
    if (Whole(kind)) return words;
    if (test_set) {
      if (config_.split == Split::kTest) return words;
      Fail(ErrorKind::kConfiguration, root, "is a test set, but the {} split is asked for",
           SplitNameOf(config_.split));
    }
    SpeechCommandsConfig speech;
    speech.root = root;
    const SplitRule rule(speech, folders);
    Append(rule.warnings());
    for (auto& [word, paths] : words) {
      std::erase_if(paths, [&](const std::string& path) { return rule.Of(path) != config_.split; });
    }
    return words;
  }

  void AddWords() {
    auto found = WordsOf(config_.clips, ComposeConfig::Kind::kClips);
    words_ = config_.words;
    if (words_.empty()) {
      for (const auto& [word, paths] : found) {
        if (word != kUnknownClass) words_.push_back(word);
      }
    }
    for (const std::string& word : words_) {
      const auto entry = found.find(word);
      if (entry == found.end() || entry->second.empty()) {
        Fail(ErrorKind::kData, config_.clips, "holds no recordings of '{}' in the {} split", word,
             SplitNameOf(config_.split));
      }
      if (!named_.insert(word).second)
        Fail(ErrorKind::kConfiguration, "--words", "'{}' is named twice", word);
      SoundGroup& group = material_.words.emplace_back(SoundGroup{.name = word, .sources = {}});
      for (const std::string& path : entry->second) group.sources.push_back({.path = path});
      found.erase(entry);
    }
    AddOthers(std::move(found));
  }

  void AddOthers(std::map<std::string, std::vector<std::string>> found) {
    for (const auto& [word, paths] : found) {
      std::vector<SoundSource>& sources = others_[word];
      for (const std::string& path : paths) sources.push_back({.path = path});
      if (sources.empty()) others_.erase(word);
    }
  }

  void AddOthers(const std::string& root) {
    auto found = WordsOf(root, ComposeConfig::Kind::kOthers);
    for (const std::string& word : words_) {
      if (const auto entry = found.find(word); entry != found.end()) {
        material_.warnings.push_back(
            fmt::format("{}/{}: {} recordings are left out, for it is one of the words", root, word,
                        entry->second.size()));
        found.erase(entry);
      }
    }
    AddOthers(std::move(found));
  }

  void AddNoise(const std::string& root) {
    const Found found = Scan(root);
    const bool background = NameOf(root) == kBackgroundFolder;
    std::set<std::string> taken;
    for (const std::string& path : found.recordings) taken.insert(NoiseSourceOf(path));
    const bool whole = background || Whole(ComposeConfig::Kind::kNoise);
    if (!whole) taken = SourcesOfSplit(taken, config_.split, root, ComposeConfig::Kind::kNoise);
    for (const std::string& path : found.recordings) {
      if (!taken.contains(NoiseSourceOf(path))) continue;
      SoundSource source{.path = path};
      if (background && !Whole(ComposeConfig::Kind::kNoise)) {
        source.from = config_.split == Split::kTrain        ? 0.0
                      : config_.split == Split::kValidation ? 0.8
                                                            : 0.9;
        source.to = config_.split == Split::kTrain        ? 0.8
                    : config_.split == Split::kValidation ? 0.9
                                                          : 1.0;
      }
      // Each recording of the background is a kind of its own.
      noise_[background ? fs::path(path).stem().string() : GroupOf(root, path, NameOf(root))]
          .push_back(source);
    }
  }

  void AddTalk(const std::string& root) {
    const Found found = Scan(root);
    const auto speaker_of = [&](const std::string& path) {
      return GroupOf(root, path, fs::path(path).stem());
    };
    std::set<std::string> taken;
    for (const std::string& path : found.recordings) taken.insert(speaker_of(path));
    if (!Whole(ComposeConfig::Kind::kTalk))
      taken = SourcesOfSplit(taken, config_.split, root, ComposeConfig::Kind::kTalk);
    for (const std::string& path : found.recordings) {
      const std::string speaker = speaker_of(path);
      if (!taken.contains(speaker)) continue;
      const auto transcript = found.transcripts.find(fs::path(path).stem());
      if (transcript != found.transcripts.end() && HoldsWord(transcript->second, words_)) {
        ++material_.talk_with_words;
        continue;
      }
      if (transcript == found.transcripts.end()) ++material_.talk_without_transcript;
      talk_[speaker].push_back({.path = path});
    }
  }

  void Append(const std::vector<std::string>& warnings) {
    material_.warnings.insert(material_.warnings.end(), warnings.begin(), warnings.end());
  }

  const ComposeConfig& config_;
  Material material_;
  std::vector<std::string> words_;
  std::set<std::string> named_;
  Groups others_, noise_, talk_;
};

}  // namespace

std::string NoiseSourceOf(const std::string& path) {
  std::string stem = fs::path(path).stem();
  const size_t size = stem.size();
  if (size > 2 && stem[size - 2] == '-' && stem[size - 1] >= 'A' && stem[size - 1] <= 'Z')
    stem.resize(size - 2);
  return stem;
}

bool HoldsWord(const std::string& transcript, const std::vector<std::string>& words) {
  std::string spoken = " ";  // words with one blank before and after each
  for (const char c : Lower(transcript)) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'' || byte >= 128;
    if (letter) {
      spoken += c;
    } else if (spoken.back() != ' ') {
      spoken += ' ';
    }
  }
  spoken += ' ';
  for (const std::string& word : words) {
    std::string wanted = Lower(word);
    std::replace(wanted.begin(), wanted.end(), '_', ' ');
    for (const char* end : {" ", "'s "}) {
      if (spoken.find(" " + wanted + end) != std::string::npos) return true;
    }
  }
  return false;
}

Material FindMaterial(const ComposeConfig& config) { return Finder(config).Find(); }

}  // namespace bisparse::data
