// SPDX-License-Identifier: Apache-2.0
// Read first: speakers.h. Tested in: speech_commands_layout_test.cc.
#include "data/speakers.h"

#include <nettle/sha1.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

struct Speaker {
  std::string name;
  bool known = true;
  bool official = false;  ///< by a name with "_nohash_"
};

/// Who speaks a recording; see SpeakerSource.
class Speakers {
 public:
  Speakers(const SpeechCommandsConfig& config, const RecordingIndex& index,
           std::vector<std::string>& warnings)
      : source_(config.speakers), root_(config.root) {
    if (source_ != SpeakerSource::kAuto && source_ != SpeakerSource::kFile) return;
    for (const char* name : {"speakers.csv", "speakers.txt"}) {
      const std::string path = (fs::path(config.root) / name).string();
      if (!fs::exists(path)) continue;
      const ListedRecordings list = ReadRecordingList(path, index, /*with_second=*/true);
      for (const auto& [recording, line, speaker] : list.entries) listed_[recording] = speaker;
      if (list.unmatched > 0) {
        warnings.push_back(
            fmt::format("{}: {} of {} lines name no recording and a speaker, the first is '{}'",
                        path, list.unmatched, list.lines, list.first_unmatched));
      }
      return;
    }
    if (source_ == SpeakerSource::kFile) {
      Fail(ErrorKind::kData, config.root,
           "holds neither speakers.csv nor speakers.txt, which data.speakers: file asks for");
    }
  }

  Speaker Of(const std::string& path) const {
    if (const auto listed = listed_.find(path); listed != listed_.end()) return {listed->second};
    const std::string below = BelowRoot(root_, path);
    const size_t word = below.find('/'), name = below.rfind('/');
    if (source_ != SpeakerSource::kName && source_ != SpeakerSource::kFile && word != name) {
      return {below.substr(word + 1, name - word - 1)};
    }
    const std::string file = below.substr(name + 1);
    const size_t mark = file.find("_nohash_");
    if (mark != std::string::npos) return {file.substr(0, mark), true, true};
    return {file, false, false};
  }

 private:
  const SpeakerSource source_;
  const std::string root_;
  std::map<std::string, std::string> listed_;
};

/// Where the official rule puts a speaker: in [0, 100].
double PercentOf(std::string_view speaker) {
  sha1_ctx context;
  sha1_init(&context);
  sha1_update(&context, speaker.size(), reinterpret_cast<const uint8_t*>(speaker.data()));
  uint8_t digest[SHA1_DIGEST_SIZE];
  sha1_digest(&context, sizeof digest, digest);
  // The digest as a big-endian number modulo 2^27: its last 27 bits.
  constexpr uint32_t kMaxClipsPerWord = (1u << 27) - 1;
  const uint32_t last = uint32_t{digest[16]} << 24 | uint32_t{digest[17]} << 16 |
                        uint32_t{digest[18]} << 8 | digest[19];
  return (last & kMaxClipsPerWord) * (100.0 / kMaxClipsPerWord);
}

Split SplitOfPercent(double percent, const SplitShares& shares) {
  if (percent < shares.validation_percent) return Split::kValidation;
  const double begin = shares.validation_percent + shares.skipped_percent;
  const bool test = percent >= begin && percent < begin + shares.testing_percent;
  return test ? Split::kTest : Split::kTrain;
}

struct Voice {
  double percent = 0;
  std::string name;
  int64_t recordings = 0;
  Split split = Split::kTrain;
};

/// Gives an empty split the training voices with the smallest percentages, up to its share of the
/// recordings; one voice at least is left to training. `voices` are sorted by percentage.
void Fill(Split split, double share_percent, int64_t recordings, std::vector<Voice>& voices) {
  const auto in = [&](const Voice& voice) { return voice.split == split; };
  if (share_percent <= 0 || std::any_of(voices.begin(), voices.end(), in)) return;
  auto training = std::count_if(voices.begin(), voices.end(),
                                [](const Voice& voice) { return voice.split == Split::kTrain; });
  const double wanted = share_percent / 100.0 * static_cast<double>(recordings);
  int64_t count = 0;
  for (Voice& voice : voices) {
    if (training < 2 || (count > 0 && static_cast<double>(count) >= wanted)) return;
    if (voice.split != Split::kTrain) continue;
    voice.split = split;
    --training;
    count += voice.recordings;
  }
}

}  // namespace

Split SplitOfSpeaker(std::string_view file_name, double validation_percent,
                     double testing_percent) {
  if (const size_t slash = file_name.rfind('/'); slash != std::string_view::npos) {
    file_name.remove_prefix(slash + 1);
  }
  return SplitOfPercent(
      PercentOf(file_name.substr(0, file_name.find("_nohash_"))),
      {.validation_percent = validation_percent, .testing_percent = testing_percent});
}

std::map<std::string, Split> SplitBySpeaker(const SpeechCommandsConfig& config,
                                            const RecordingIndex& index,
                                            const std::vector<std::string>& paths,
                                            const SplitShares& shares,
                                            std::vector<std::string>& warnings) {
  const Speakers speakers(config, index, warnings);
  std::map<std::string, Voice> voice_of_name;
  std::map<std::string, std::string> name_of_path;
  int64_t unknown = 0, official = 0;
  const auto add = [&](const std::string& path, const std::string& name) {
    name_of_path[path] = name;
    Voice& voice = voice_of_name[name];
    voice.name = name;
    voice.percent = PercentOf(name);
    ++voice.recordings;
  };
  for (const std::string& path : paths) {
    const Speaker speaker = speakers.Of(path);
    unknown += speaker.known ? 0 : 1;
    official += speaker.official ? 1 : 0;
    add(path, speaker.name);
  }
  const auto total = std::ssize(paths);
  if (unknown > 0) {
    warnings.push_back(fmt::format(
        "{}: {} of {} recordings do not say who speaks, so one voice may be in training and "
        "validation (hint: WORD/SPEAKER/FILE or speakers.csv, see docs/own-recordings.md)",
        config.root, unknown, total));
  } else if (voice_of_name.size() == 1 && total > 1) {
    warnings.push_back(
        fmt::format("{}: all {} recordings are by one speaker, '{}', so nothing tells how others "
                    "are understood",
                    config.root, total, voice_of_name.begin()->first));
    if (official == 0) {  // a single voice cannot be held out: its recordings are
      voice_of_name.clear();
      for (const std::string& path : paths) add(path, BelowRoot(config.root, path));
    }
  }
  std::vector<Voice> voices;
  for (auto& [name, voice] : voice_of_name) voices.push_back(std::move(voice));
  std::stable_sort(voices.begin(), voices.end(),
                   [](const Voice& a, const Voice& b) { return a.percent < b.percent; });
  for (Voice& voice : voices) voice.split = SplitOfPercent(voice.percent, shares);
  if (official == 0) {
    const auto trains = [](const Voice& voice) { return voice.split == Split::kTrain; };
    if (!voices.empty() && std::none_of(voices.begin(), voices.end(), trains)) {
      voices.back().split = Split::kTrain;
    }
    Fill(Split::kValidation, shares.validation_percent, total, voices);
    Fill(Split::kTest, shares.testing_percent, total, voices);
  }
  std::map<std::string, Split> split_of_name, split_of_path;
  for (const Voice& voice : voices) split_of_name[voice.name] = voice.split;
  for (const auto& [path, name] : name_of_path) split_of_path[path] = split_of_name.at(name);
  return split_of_path;
}

}  // namespace bisparse::data
