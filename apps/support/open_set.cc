// SPDX-License-Identifier: Apache-2.0
// Read first: open_set.h.
#include "apps/support/open_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "data/audio.h"
#include "data/speech_commands_layout.h"
#include "deploy/base/check.h"
#include "deploy/base/show.h"
#include "deploy/packed/detection.h"

namespace bisparse::apps {
namespace {

double Part(int64_t some, int64_t all) {
  return static_cast<double>(some) / static_cast<double>(all);
}

/// Numbers in falling order: how many are at least `threshold`.
int64_t AtLeast(const std::vector<double>& falling, double threshold) {
  return std::upper_bound(falling.begin(), falling.end(), threshold, std::greater<>()) -
         falling.begin();
}

struct Scores {
  int64_t word_clips = 0;
  std::vector<double> found;    // of words' clips that are taken for the right word; falling
  std::vector<double> unknown;  // falling
  std::vector<double> folder;   // falling

  /// The highest threshold that finds `percent` of the words' clips.
  std::optional<OpenSetPoint> PointAt(int64_t percent) const {
    const int64_t wanted = std::max<int64_t>(1, (percent * word_clips + 99) / 100);
    if (wanted > std::ssize(found)) return std::nullopt;
    OpenSetPoint point{.threshold = found[static_cast<size_t>(wanted - 1)]};
    point.words_found = Part(AtLeast(found, point.threshold), word_clips);
    if (!unknown.empty())
      point.unknown_accepted = Part(AtLeast(unknown, point.threshold), std::ssize(unknown));
    if (!folder.empty())
      point.folder_accepted = Part(AtLeast(folder, point.threshold), std::ssize(folder));
    return point;
  }
};

OpenSet::FolderWord FolderWordOf(const UnknownFolder::Word& word,
                                 const std::vector<std::string>& names,
                                 const std::optional<OpenSetPoint>& at) {
  OpenSet::FolderWord result{.name = word.name, .clips = std::ssize(word.clips)};
  if (!at) return result;
  std::map<size_t, int64_t> taken;
  int64_t accepted = 0;
  for (const WordScore& clip : word.clips) {
    if (clip.score < at->threshold) continue;
    ++accepted;
    ++taken[clip.word];
  }
  result.accepted = Part(accepted, result.clips);
  const auto most = std::max_element(
      taken.begin(), taken.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != taken.end()) result.taken_for = names[most->first];
  return result;
}

nlohmann::ordered_json OrNull(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

nlohmann::ordered_json PointJson(const OpenSetPoint& point) {
  nlohmann::ordered_json json = {{"threshold", point.threshold},
                                 {"words_found", point.words_found}};
  if (point.unknown_accepted) json["unknown_accepted"] = *point.unknown_accepted;
  if (point.folder_accepted) json["folder_accepted"] = *point.folder_accepted;
  return json;
}

}  // namespace

UnknownFolder ScoreUnknownFolder(const Engine& engine, const std::string& folder, bool strict) {
  const std::vector<std::string>& names = engine.class_names();
  if (engine.sample_rate_hz() == 0 || std::all_of(names.begin(), names.end(), packed::IsNoWord)) {
    Fail(ErrorKind::kConfiguration, "--unknown", "the model has {}",
         engine.sample_rate_hz() == 0 ? "no front end, so recordings are nothing to it"
                                      : "no class that is a word");
  }
  const data::WordFolders found = data::ScanWordFolders(folder);
  UnknownFolder result;
  result.warnings = found.warnings;
  std::vector<float> samples, logits(names.size());
  std::map<std::string, std::vector<std::string>> words = found.words;
  if (!found.unknown.empty()) words[data::kUnknownClass] = found.unknown;
  for (const auto& [word, paths] : words) {
    if (!packed::IsNoWord(word) && std::find(names.begin(), names.end(), word) != names.end()) {
      result.warnings.push_back(
          fmt::format("{}/{}: {} recordings are left out, for the model has this word", folder,
                      word, paths.size()));
      continue;
    }
    UnknownFolder::Word of_word{.name = word, .clips = {}};
    for (const std::string& path : paths) {
      try {
        data::ToFloats(data::ToPcm16(data::ReadAudio(path, engine.sample_rate_hz()).samples),
                       samples);
      } catch (const Error& error) {
        if (strict) throw;
        result.skipped.push_back(error.what());
        continue;
      }
      engine.RunPcm(samples, logits);
      of_word.clips.push_back(WordScoreOf(logits, names));
    }
    if (!of_word.clips.empty()) result.words.push_back(std::move(of_word));
  }
  if (result.words.empty()) {
    Fail(ErrorKind::kData, folder,
         "holds no recording of another word that can be read ({} are broken, {} words are the "
         "model's own)",
         result.skipped.size(), words.size());
  }
  return result;
}

std::optional<OpenSet> OpenSetOf(const std::vector<std::string>& names,
                                 std::span<const int32_t> labels, std::span<const int32_t> answers,
                                 std::span<const WordScore> scores, const UnknownFolder* folder) {
  if (scores.size() != labels.size()) return std::nullopt;  // a model without words
  Scores clips;
  int64_t right = 0, rejected = 0;
  for (size_t b = 0; b < labels.size(); ++b) {
    const std::string& truth = names[static_cast<size_t>(labels[b])];
    if (truth == data::kUnknownClass) {
      clips.unknown.push_back(scores[b].score);
      rejected += packed::IsNoWord(names[static_cast<size_t>(answers[b])]) ? 1 : 0;
    } else if (!packed::IsNoWord(truth)) {
      ++clips.word_clips;
      right += labels[b] == answers[b] ? 1 : 0;
      if (scores[b].word == static_cast<size_t>(labels[b])) clips.found.push_back(scores[b].score);
    }
  }
  if (clips.word_clips == 0 || (clips.unknown.empty() && folder == nullptr)) return std::nullopt;
  if (folder != nullptr) {
    for (const auto& word : folder->words) {
      for (const WordScore& clip : word.clips) clips.folder.push_back(clip.score);
    }
  }
  for (auto* list : {&clips.found, &clips.unknown, &clips.folder}) {
    std::sort(list->begin(), list->end(), std::greater<>());
  }
  OpenSet result{.words_found = Part(right, clips.word_clips)};
  if (!clips.unknown.empty()) result.unknown_rejected = Part(rejected, std::ssize(clips.unknown));
  result.at_90_found = clips.PointAt(90);
  for (int64_t percent = 50; percent < 100; ++percent) {
    if (const auto point = clips.PointAt(percent)) result.curve.push_back(*point);
  }
  if (folder == nullptr) return result;
  double sum = 0;
  for (const auto& word : folder->words) {
    result.folder_words.push_back(FolderWordOf(word, names, result.at_90_found));
    result.folder_clips += result.folder_words.back().clips;
    sum += result.folder_words.back().accepted.value_or(0);
  }
  result.folder_skipped = std::ssize(folder->skipped);
  if (result.at_90_found)
    result.folder_accepted_by_word = sum / static_cast<double>(folder->words.size());
  return result;
}

std::string FormatOpenSet(const OpenSet& open_set) {
  if (!open_set.at_90_found) {
    return fmt::format("90 % of the words' clips are found at no threshold: {:.1f} % are right\n",
                       100 * open_set.words_found);
  }
  const OpenSetPoint& at = *open_set.at_90_found;
  std::string text =
      fmt::format("where 90 % of the words' clips are found (threshold {:.4f}):", at.threshold);
  const char* comma = "";
  if (at.unknown_accepted) {
    text += fmt::format(" {:.1f} % of the clips of unknown words are taken for a word",
                        100 * *at.unknown_accepted);
    comma = ",";
  }
  if (at.folder_accepted) {
    text += fmt::format("{} {:.1f} % of the folder's {} clips (mean over its {} words {:.1f} %)",
                        comma, 100 * *at.folder_accepted, open_set.folder_clips,
                        open_set.folder_words.size(), 100 * *open_set.folder_accepted_by_word);
  }
  text += '\n';
  if (open_set.folder_words.empty()) return text;
  text += fmt::format("\n{:<24}{:>9}{:>11}  {}\n", "word of the folder", "clips", "accepted",
                      "mostly for");
  for (const auto& word : open_set.folder_words) {
    text += fmt::format("{:<24}{:>9}{:>9.1f} %  {}\n", Shown(word.name), word.clips,
                        100 * *word.accepted, Shown(word.taken_for));
  }
  return text;
}

nlohmann::ordered_json OpenSetJson(const OpenSet& open_set) {
  nlohmann::ordered_json json = {{"words_found", open_set.words_found}};
  if (open_set.unknown_rejected) json["unknown_rejected"] = *open_set.unknown_rejected;
  json["at_90_found"] =
      open_set.at_90_found
          ? PointJson(*open_set.at_90_found)
          : nlohmann::ordered_json{{"threshold", nullptr}, {"unknown_accepted", nullptr}};
  auto& curve = json["curve"] = nlohmann::ordered_json::array();
  for (const OpenSetPoint& point : open_set.curve) curve.push_back(PointJson(point));
  if (open_set.folder_words.empty()) return json;
  auto& folder = json["folder"] = {{"clips", open_set.folder_clips},
                                   {"skipped", open_set.folder_skipped},
                                   {"accepted_by_word", OrNull(open_set.folder_accepted_by_word)}};
  auto& words = folder["words"] = nlohmann::ordered_json::array();
  for (const auto& word : open_set.folder_words) {
    words.push_back({{"word", word.name},
                     {"clips", word.clips},
                     {"accepted", OrNull(word.accepted)},
                     {"taken_for", word.taken_for}});
  }
  return json;
}

}  // namespace bisparse::apps
